"""The client in a thread, for applications without an event loop; and the examples of its documentation."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backout_client import BreakerClient, BreakerThread
from chassis.embedded.ports import free_ports
from chassis.kafka import Kafka
from tests.polling import poll_until

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "schemas" / "examples" / "breakers"
PRINTED = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "breakers.md").read_text(), re.DOTALL)
COMPONENT = "pdf_extraction"


def client(kafka: Kafka, **options: Any) -> BreakerClient:
    return BreakerClient(kafka.bootstrap_servers, topic=kafka.topic("breakers"), **options)


async def publish_open(kafka: Kafka) -> None:
    """An open breaker, whose monitor is alive now."""
    alive, opened = (json.loads((EXAMPLES / f"{name}.json").read_text()) for name in ("alive", "open"))
    alive["data"]["through"] = datetime.now(UTC).isoformat()
    async with kafka.producer() as producer:
        for key, event in ((COMPONENT, opened), ("alive/2", alive)):
            await producer.send(kafka.topic("breakers"), json.dumps(event).encode(), key=key.encode())


@pytest.mark.usefixtures("topics")
async def test_many_threads_are_answered_while_one_reads(kafka: Kafka) -> None:
    def used() -> None:
        with BreakerThread(client(kafka)) as breakers:
            assert breakers.wait_until_read(20)
            with pytest.raises(RuntimeError, match="begun already"):
                breakers.start()
            asyncio.run(publish_open(kafka))
            poll_until(lambda: breakers.decide(COMPONENT).reason == "open", what="the decision is read")
            assert breakers.problem is None
            assert breakers.components() == {COMPONENT: "open"}
            age = breakers.sign_of_life_age_s
            assert age is not None
            assert age < 20
            with ThreadPoolExecutor(4) as threads:
                answers = list(threads.map(breakers.decide, [COMPONENT] * 4_000))
            assert {(each.reason, each.fallback) for each in answers} == {("open", "original_extractor")}
        breakers.close()
        assert not breakers.wait_until_read(0.1)
        breakers.start()
        assert breakers.wait_until_read(20)
        breakers.close()

    await asyncio.to_thread(used)


def test_what_no_consumer_can_be_made_of_is_raised_where_it_is_begun() -> None:
    breakers = BreakerThread(BreakerClient("127.0.0.1:9092", consumer_options={"bogus": 1}))
    with pytest.raises(ValueError, match="unexpected keyword argument 'bogus'"):
        breakers.start()
    breakers.close()
    assert breakers.decide("c").reason == "not_read_yet"


def test_without_a_broker_it_begins_answers_and_ends_at_once() -> None:
    (port,) = free_ports(1)
    began = time.monotonic()
    with BreakerThread(BreakerClient(f"127.0.0.1:{port}", when_stale="open")) as breakers:
        assert breakers.decide("c").reason == "not_read_yet"
        assert not breakers.wait_until_read(0.2)
        assert breakers.problem is not None
    assert time.monotonic() - began < 8


FORKING = """\
import os, sys
from backout_client import BreakerClient, BreakerThread

breakers = BreakerThread(BreakerClient(sys.argv[1], topic=sys.argv[2], stale_after_s=1e-6))
breakers.start()
assert breakers.wait_until_read(20)
child = os.fork()
if child == 0:
    told = breakers.problem, breakers.decide("c").reason, breakers.wait_until_read(1)
    breakers.close()
    again = BreakerThread(BreakerClient(sys.argv[1], topic=sys.argv[2]))
    again.start()
    told = (*told, again.wait_until_read(20))
    again.close()
    print(told, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(breakers.problem)
breakers.close()
"""


@pytest.mark.usefixtures("topics")
async def test_a_forked_child_is_told_that_it_has_to_begin_its_own(kafka: Kafka) -> None:
    told = await run(FORKING, kafka.bootstrap_servers, kafka.topic("breakers"))
    words = "nobody reads: this process was forked from the one that does"
    assert told.splitlines() == [str((words, "stale", False, True)), "None"]


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize("printed", PRINTED, ids=["asyncio", "thread"])
async def test_the_examples_run_as_they_are_printed(kafka: Kafka, printed: str) -> None:
    """But for the broker's address, and the namespace of the test in front of the topic."""
    await publish_open(kafka)
    there = f'"{kafka.bootstrap_servers}", topic="{kafka.topic("breakers")}"'
    assert printed.count('"kafka:9092"') == 1
    told = await run(printed.replace('"kafka:9092"', there))
    assert told.startswith(("instead: original_extractor because response_time", "open"))


async def run(program: str, *arguments: str) -> str:
    """What a program of its own prints."""
    argv = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", program, *arguments]
    done = await asyncio.to_thread(
        subprocess.run,
        argv,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout
