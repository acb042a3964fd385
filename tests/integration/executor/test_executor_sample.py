"""The shipped playbook for pdf_extraction, against the sample system itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGKILL, SIGTERM

import aiohttp
import pytest

from chassis.embedded.postgres import EmbeddedPostgres
from tests.integration.docrag.service import COMPONENT, ServiceProcess
from tests.integration.executor.stage import ROOT, Executors, rollback

NAME = "pdf_extraction"
STEPS = ["enhanced", "original", "validate", "routing"]


@pytest.fixture
async def sample(embedded_postgres: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """The sample system with the enhanced release deployed."""
    name = f"docrag_{tmp_path.name[-8:].strip('_')}".lower()
    dsn = embedded_postgres.create_database(name)
    (tmp_path / "sample").mkdir()
    async with aiohttp.ClientSession() as session:
        service = ServiceProcess(session, dsn, tmp_path / "sample")
        await service.start()
        deployed = await service.put(COMPONENT, {"mode": "enhanced"})
        assert deployed.body["mode"] == "enhanced"
        yield service
        await service.end(SIGTERM)
    embedded_postgres.drop_database(name)


def variables(sample: ServiceProcess) -> dict[str, str]:
    return {
        "BACKOUT_CONFIG_DIR": str(ROOT / "config"),
        "BACKOUT_EXECUTOR__TARGETS": f'{{"docrag": "{sample.url}"}}',
    }


async def effects(sample: ServiceProcess, execution_id: str) -> list[tuple[str, int]]:
    """(last part of the path, times requested) of the execution's effects, in order."""
    ledger = (await sample.get("/effects")).body
    return [
        (entry["path"].rsplit("/", 1)[1], entry["times_requested"])
        for entry in ledger
        if entry["key"].startswith(execution_id)
    ]


async def test_the_bad_release_is_backed_out(executors: Executors, sample: ServiceProcess) -> None:
    executors.start(variables=variables(sample))
    await executors.command(rollback(NAME, reason="slow pages"), event_id="command-1", component=NAME)
    end = await executors.ended(NAME)
    events = await executors.rollbacks()

    assert end.status == "Success", end.why
    assert await effects(sample, end.execution_id) == [(part, 1) for part in STEPS]
    state = (await sample.get(COMPONENT)).body
    assert (state["mode"], state["original"]["initialized"]) == ("original", True)
    assert not any(switch["enabled"] for switch in state["enhanced"].values())
    checks = next(item for item in events if item.kind == "validated").checks
    assert [(check.name, check.passed, check.limit) for check in checks] == [
        ("accuracy", True, 0.95),
        ("seconds_per_page", True, 1.0),
    ]


@pytest.mark.parametrize("failpoint", ["after-act=kill@2", "after-intent=kill@4"])
async def test_the_samples_ledger_shows_each_effect_once_after_a_kill(
    executors: Executors, sample: ServiceProcess, failpoint: str
) -> None:
    executors.start(failpoints=f"executor.{failpoint}", variables=variables(sample))
    await executors.command(rollback(NAME), event_id="command-1", component=NAME)
    assert await executors.stopped() == -SIGKILL
    executors.start(variables=variables(sample))
    end = await executors.ended(NAME)

    assert end.status == "Success", end.why
    assert [part for part, _ in await effects(sample, end.execution_id)] == STEPS


async def test_a_sample_that_dies_under_the_rollback_is_waited_for(
    executors: Executors, sample: ServiceProcess
) -> None:
    executors.start(failpoints="executor.after-act=freeze@1", variables=variables(sample))
    await executors.command(rollback(NAME), event_id="command-1", component=NAME)
    await executors.until_frozen()
    await sample.end(SIGKILL)
    url = sample.url
    await sample.start()
    # It has another address now, as after a move; the settings of a new owner know it.
    assert sample.url != url
    executors.signal(SIGKILL)
    assert await executors.stopped() == -SIGKILL
    executors.start(variables=variables(sample))
    end = await executors.ended(NAME)

    assert end.status == "Success", end.why
    assert [part for part, _ in await effects(sample, end.execution_id)] == STEPS
