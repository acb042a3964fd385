"""The whole system for an end-to-end test, on the session's servers, under a namespace of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from chassis.embedded.process_group import ProcessGroup
from chassis.kafka_admin import delete_topics
from examples.demo.infrastructure import Infrastructure
from examples.demo.system import System, SystemOptions

SystemFactory = Callable[[SystemOptions], AbstractAsyncContextManager[System]]


@pytest.fixture
def quick_rules(tmp_path: Path) -> Path:
    """The demo's triggers, the first of them held for a shorter time: the waiting is not tested.

    The others keep theirs: the sample refuses uploads for a moment while its extractor is
    replaced, and that is not to be an incident of its own.
    """
    shipped = yaml.safe_load(Path("examples/docrag/triggers.yml").read_text(encoding="utf-8"))
    first = shipped["triggers"][0]
    assert first["name"] == "response_time_p95"
    assert first["for"] == "10s"
    first["for"] = "3s"
    rules = tmp_path / "triggers.yml"
    rules.write_text(yaml.safe_dump(shipped), encoding="utf-8")
    return rules


@pytest.fixture
def start_system(kafka_bootstrap: str, postgres_dsn: str, namespace: str, tmp_path: Path) -> SystemFactory:
    """Start the sample, the receivers and the four services."""
    infrastructure = Infrastructure(kafka_bootstrap, postgres_dsn)
    name = namespace.rstrip(".")

    @contextlib.asynccontextmanager
    async def start(options: SystemOptions) -> AsyncIterator[System]:
        own = replace(
            options, namespace=namespace, database=f"{name}_backout", sample_database=f"{name}_docrag"
        )
        with ProcessGroup(_made(tmp_path / "run")) as group:
            async with System(infrastructure, group, tmp_path / "run", own) as system:
                yield system
            await delete_topics(system.kafka)

    return start


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
