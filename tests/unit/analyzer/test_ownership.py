"""Of several analyzers the one that has taken over last writes, and another finds that out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chassis.clock import ManualClock
from chassis.errors import Fenced, PermanentError
from services.analyzer.handlers.ownership import Ownership

PATIENCE_S = 10.0


class Topics:
    """A group that gives the topics out, and a store that knows who took over how often."""

    def __init__(self) -> None:
        self.clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.generation = 1
        self.taken_over = 0
        self.fenced = False
        self.done = 0
        self.ownership = Ownership(
            self.clock,
            generation=lambda: self.generation,
            take_over=self._take_over,
            patience_s=PATIENCE_S,
        )

    async def _take_over(self) -> None:
        self.taken_over += 1

    async def work(self) -> None:
        if self.fenced:
            raise Fenced("another has taken over")
        self.done += 1


async def test_it_takes_over_once_in_a_generation() -> None:
    topics = Topics()
    for generation in (1, 1, 2, 2):
        topics.generation = generation
        assert await topics.ownership.do(generation, topics.work)
    assert (topics.done, topics.taken_over) == (4, 2)


async def test_nothing_is_done_in_a_generation_that_is_over() -> None:
    topics = Topics()
    topics.generation = 2
    assert not await topics.ownership.do(1, topics.work)
    assert (topics.done, topics.taken_over) == (0, 0)


async def test_a_generation_is_over_when_somebody_has_taken_over_in_a_later_one() -> None:
    topics = Topics()
    assert await topics.ownership.do(1, topics.work)
    topics.generation = 2
    assert await topics.ownership.do(1, topics.work)
    assert await topics.ownership.do(2, topics.work)
    assert not await topics.ownership.do(1, topics.work)
    assert (topics.done, topics.taken_over) == (3, 2)


async def test_who_was_fenced_takes_nothing_back_before_the_group_gives_it_the_topics_again() -> None:
    topics = Topics()
    assert await topics.ownership.do(1, topics.work)
    topics.fenced = True
    assert not await topics.ownership.do(1, topics.work)
    topics.fenced = False
    assert not await topics.ownership.do(1, topics.work)
    assert (topics.done, topics.taken_over) == (1, 1)

    topics.generation = 3
    assert await topics.ownership.do(3, topics.work)
    assert (topics.done, topics.taken_over) == (2, 2)


async def test_who_was_fenced_and_never_hears_of_it_from_the_group_starts_anew() -> None:
    topics = Topics()
    topics.fenced = True
    assert not await topics.ownership.do(1, topics.work)
    topics.clock.advance(timedelta(seconds=PATIENCE_S - 1))
    assert not await topics.ownership.do(1, topics.work)
    topics.clock.advance(timedelta(seconds=2))
    with pytest.raises(PermanentError, match="for 10 s the group has given the topics to nobody else"):
        await topics.ownership.do(1, topics.work)


async def test_what_the_taking_over_fails_with_is_raised_and_it_is_tried_again() -> None:
    topics = Topics()
    failing = Ownership(topics.clock, generation=lambda: 1, take_over=_unreachable, patience_s=PATIENCE_S)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await failing.do(1, topics.work)
    assert topics.done == 0


async def _unreachable() -> None:
    raise ConnectionError
