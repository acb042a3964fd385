"""What ``/readyz`` says, while a service starts and after."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from chassis.lifecycle import Health


@pytest.fixture
def health() -> Health:
    """A service that has been started, with no parts yet."""
    made = Health("monitor", CollectorRegistry())
    made.started()
    return made


async def test_it_is_not_ready_before_it_is_started() -> None:
    assert await Health("monitor", CollectorRegistry()).problems() == {"started": "still starting"}


async def test_each_part_answers_for_itself(health: Health) -> None:
    async def well() -> None:
        return None

    async def unwell() -> str:
        return "no partitions are assigned"

    health.add("kafka", well)
    health.add("consumer", unwell)
    assert await health.problems() == {"consumer": "no partitions are assigned"}


async def test_a_part_that_is_added_while_the_others_are_asked_is_asked_next_time(health: Health) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        asked.set()
        await go_on.wait()
        return "slow"

    async def late() -> str:
        return "late"

    health.add("slow", slow)
    asking = asyncio.create_task(health.problems())
    await asked.wait()
    health.add("late", late)
    go_on.set()

    assert await asking == {"slow": "slow"}
    assert await health.problems() == {"slow": "slow", "late": "late"}
