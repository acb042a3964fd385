"""The sample system's regular work keeps to its rate, however long one call takes."""

import asyncio
import time

import pytest

from examples.docrag.probe import every


async def _calls(period_s: float, lasting_s: float, count: int) -> list[float]:
    """When each of the first calls began, s, on the real clock."""
    began: list[float] = []
    enough = asyncio.Event()

    async def action() -> None:
        began.append(time.monotonic())
        if len(began) == count:
            enough.set()
        await asyncio.sleep(lasting_s)

    task = asyncio.create_task(every(period_s, action))
    await asyncio.wait_for(enough.wait(), 10)
    task.cancel()
    return began


async def test_what_a_call_takes_is_part_of_the_period() -> None:
    began = await _calls(period_s=0.1, lasting_s=0.07, count=11)
    assert began[-1] - began[0] == pytest.approx(1.0, abs=0.15)


async def test_a_call_that_outlasts_the_period_is_not_made_up_for() -> None:
    began = await _calls(period_s=0.02, lasting_s=0.1, count=6)
    assert 0.5 <= began[-1] - began[0] < 1.0
