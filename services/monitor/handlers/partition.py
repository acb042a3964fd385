"""One partition of the metrics topic in the hands of its owner."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Literal

import structlog

from chassis.clock import Clock
from chassis.plain_records import PlainRecord
from services.monitor.domain.breakers.breaker_plan import NO_BREAKERS, feeds_breaker
from services.monitor.domain.breakers.breakers import Breakers, Decision, Removal
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake, Taken
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.traces import Traces
from services.monitor.handlers.ports import Beat, Decided, Meter, PartitionLog, SetAside
from services.monitor.handlers.prediction_work import PredictionWork

log = structlog.get_logger(__name__)

CHECKPOINT_EVERY_S = 2.0
"""How much reading a restart may have to repeat at most, in seconds of work."""
PHASES_EVERY_S = 5.0
"""How often the phases of all triggers are counted at most: there may be many thousands."""
ALIVE_EVERY_S = 5.0
"""How often readers of the breakers' decisions are told that the partition is still evaluated."""

_CLOSE_WAIT_S = 1.0


class Partition:
    """Reads on where the checkpoint ends, decides, and writes what it decided.

    ``superseded`` and ``redecided`` are what recalling the states of triggers and breakers had to
    say.
    """

    def __init__(
        self,
        number: int,
        engine: PartitionEngine,
        log: PartitionLog,
        meter: Meter,
        *,
        next_offset: int,
        partitions: int,
        superseded: Sequence[Outcome] = (),
        breakers: Breakers | None = None,
        redecided: Sequence[Decision | Removal] = (),
        predictions: PredictionWork | None = None,
        traces: Traces | None = None,
        clock: Clock,
    ) -> None:
        self.number = number
        self.next_offset = next_offset
        self.time_moved = clock.monotonic()
        """When (on the monotonic clock) a record last raised the greatest time shown: unreadable
        and old records arrive on a partition whose time stands still, too."""
        self._clock = clock
        self._engine = engine
        self._intake = Intake(engine.series)
        self._log = log
        self._meter = meter
        self._partitions = partitions
        self._traces = traces
        self._breakers = Breakers(NO_BREAKERS) if breakers is None else breakers
        self._predictions = predictions
        self._decided = Decided(breakers=list(redecided))
        self._note_triggers(superseded)
        self._note_overflows()
        self._alive_through: int | None = None
        self._alive_at = -ALIVE_EVERY_S
        self._counted = 0
        self._breakers_shown = False
        self._told_drawn: set[str] = set()
        self._moved = False
        self._beat_due = False
        self._behind = 0
        self._written_at = self.time_moved
        self._phases_moved, self._phases_told = False, -PHASES_EVERY_S
        self._writing: asyncio.Task[None] | None = None

    def take(self, records: Sequence[PlainRecord]) -> None:
        """Fold in the next records of the log."""
        began = self._clock.monotonic()
        taken = self._intake.read(records)
        late, shown = self._engine.late, self._engine.shown
        before = self._engine.evaluated_through
        outcomes = self._engine.advance(taken.columns)
        self._note_triggers(outcomes)
        self._note_overflows()
        if self._traces is not None:
            self._traces.note(records)
            told = [each for each in outcomes if each.kind is not None]
            self._decided.traced |= {each: self._traces.of(each.evidence) for each in told}
        self._decided.breakers += self._breakers.advance(outcomes, self._engine.evaluated_through)
        if self._predictions is not None:
            self._predictions.take(taken.columns)
        self._set_aside(records, taken)
        self._meter.taken(self.number, samples=len(taken.columns.time), late=self._engine.late - late)
        self._meter.ticked(
            self.number, seconds=self._clock.monotonic() - began, evaluations=self._evaluations(before)
        )
        self.next_offset = records[-1].offset + 1
        if self._engine.shown != shown:
            self.time_moved = self._clock.monotonic()
        self._moved = True

    async def predict(self) -> None:
        """Predict at the samples that were taken; others run meanwhile. Comes after ``take``."""
        if self._predictions is not None:
            await self._predictions.catch_up()

    def _evaluations(self, before: int | None) -> int:
        """Since ``before``, the last second evaluated (None: none was; then those since count as one)."""
        through = self._engine.evaluated_through
        if through is None:
            return 0
        return (through - (through - 1 if before is None else before)) * self._engine.series.size

    def _note_triggers(self, outcomes: Sequence[Outcome]) -> None:
        """The checks of breakers are evaluated with the triggers, but are none."""
        self._decided.outcomes += [each for each in outcomes if not feeds_breaker(each.rule)]

    def _note_overflows(self) -> None:
        overflows = self._engine.overflows()
        self._decided.overflows += [each for each in overflows if not feeds_breaker(each.rule)]

    def _set_aside(self, records: Sequence[PlainRecord], taken: Taken) -> None:
        """Note the unreadable ones, and which of them follow each other with nothing good between."""
        before = -1
        for index, unread in taken.unread:
            good_before = self._good_between(before, index, taken)
            in_a_row = not good_before and not taken.has_samples(index)
            self._decided.set_aside.append(SetAside(records[index], unread, in_a_row))
            before = index
        self._decided.ends_well = self._good_between(before, len(records), taken)

    def _good_between(self, before: int, index: int, taken: Taken) -> bool:
        """Whether anything was read since the unreadable record ``before`` (-1: there is none in
        this fetch) and before the record ``index``; a batch counts if a sample of it was read."""
        if before < 0:
            return index > 0 or self._decided.ends_well
        return index - before > 1 or (index > before and taken.has_samples(before))

    def note_behind(self, behind: int) -> None:
        """So many offsets are left to the partition's end."""
        self._behind = behind
        self._meter.behind(self.number, behind)

    def beat(self) -> None:
        """Have it told that the partition is evaluated: with the next transaction, so that only an
        owner who can decide is heard of."""
        self._beat_due = True

    @property
    def is_writing(self) -> bool:
        return self._writing is not None and not self._writing.done()

    @property
    def writing_for_s(self) -> float:
        """How long the transaction that is under way has taken by now; 0 while there is none."""
        return self._clock.monotonic() - self._written_at if self.is_writing else 0.0

    def write_if_due(self) -> None:
        """Begin to write if there is something that others wait for or the checkpoint is old.

        Reading goes on meanwhile; one transaction at a time. Raises what an earlier one raised.
        """
        if self._writing is not None and self._writing.done():
            writing, self._writing = self._writing, None
            writing.result()
        if self._writing is None and self._is_due():
            self._writing = asyncio.create_task(self._write_while_due(), name=f"write {self.number}")

    async def finish(self) -> None:
        """Write all that is decided, after what is being written, and that nobody owns it now."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
        self._phases_told = -PHASES_EVERY_S
        await self._write(releasing=True)

    async def close(self) -> None:
        """Let go; what was not written is decided again by the next owner."""
        if self._writing is not None:
            # A broker that is away lets a transaction hang for as long as it likes.
            await asyncio.wait({self._writing}, timeout=_CLOSE_WAIT_S)
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._predictions is not None:
            await self._predictions.close()
        await self._log.close()
        self._meter.released(self.number)

    def _is_due(self) -> bool:
        if self._has_news() or self._beat_due:
            return True
        return self._moved and self._clock.monotonic() - self._written_at >= CHECKPOINT_EVERY_S

    def _has_news(self) -> bool:
        decided = self._decided
        if decided.outcomes or decided.overflows or decided.breakers or decided.set_aside:
            return True
        return self._predictions is not None and self._predictions.has_news

    async def _write_while_due(self) -> None:
        while self._is_due():
            await self._write()

    async def _write(self, *, releasing: bool = False) -> None:
        """Write what was decided, with the states and the checkpoint, in one transaction."""
        # From here to the checkpoint nothing may be taken in between.
        await self.predict()
        news = self._moved or self._has_news()
        decided, self._decided = self._decided, Decided()
        if news:
            self._note_states(decided)
        if releasing or self._beat_due:
            kind: Literal["evaluating", "released"] = "released" if releasing else "evaluating"
            decided.beat = Beat(kind, self._engine.evaluated_through, self.next_offset, self._behind)
        self._moved = self._beat_due = False
        self._written_at = self._clock.monotonic()
        await self._log.write(decided)
        self._meter.transacted(self.number, seconds=self._clock.monotonic() - self._written_at)
        self._meter.written(self.number, decided)
        self._meter.evaluated(self.number, self._engine.evaluated_through)
        self._meter.overflowed(self.number, self._engine.overflowed())
        self._show_drawn()
        self._count_phases(moved=bool(decided.outcomes))
        self._show_breakers(moved=bool(decided.breakers))

    def _note_states(self, decided: Decided) -> None:
        """What a restart goes on from."""
        decided.states = {**self._engine.changes(), **self._breakers.changes()}
        decided.alive_through = self._sign_of_life()
        predicted = None if self._predictions is None else self._predictions.collect(decided)
        decided.checkpoint = self._engine.checkpoint(
            self.next_offset, partitions=self._partitions, predicted=predicted
        )

    def _show_breakers(self, *, moved: bool) -> None:
        """Show their states where some have changed; at first all that were taken over."""
        if moved or (self._breakers.are_configured and not self._breakers_shown):
            self._breakers_shown = True
            self._meter.breakers(self.number, self._breakers.states())

    def _show_drawn(self) -> None:
        """Show whose baselines are estimates, and tell it once of each trigger."""
        drawn = self._engine.series.drawn()
        self._meter.drawn(self.number, drawn)
        for rule in drawn:
            if rule.name not in self._told_drawn:
                self._told_drawn.add(rule.name)
                log.info(
                    "more samples than a baseline keeps: it will be worked out from a draw of them",
                    partition=self.number,
                    trigger=rule.name,
                )

    def _count_phases(self, *, moved: bool) -> None:
        """Show the phases where they have changed; not too often, since there may be many triggers."""
        size = self._engine.series.size
        self._phases_moved = self._phases_moved or moved or size != self._counted
        self._counted = size
        if self._phases_moved and self._written_at - self._phases_told >= PHASES_EVERY_S:
            self._phases_moved, self._phases_told = False, self._written_at
            groups = self._engine.group_counts()
            counts = {rule.name: count for rule, count in groups if not feeds_breaker(rule)}
            phases = Tally(phase for rule, phase in self._engine.phases() if not feeds_breaker(rule))
            phases["inactive"] += sum(counts.values()) - phases.total()
            self._meter.phases(self.number, phases, groups=counts)

    def _sign_of_life(self) -> int | None:
        """The last second evaluated, if it is time to tell it: only a partition whose time moves is
        alive to those who rely on its breakers."""
        through, now = self._engine.evaluated_through, self._clock.monotonic()
        if through is None or through == self._alive_through or now - self._alive_at < ALIVE_EVERY_S:
            return None
        if not self._breakers.are_configured:
            return None
        self._alive_through, self._alive_at = through, now
        return through

    def clock_time(self, wall: float) -> float | None:
        """The time (epoch seconds) that a clock record written at ``wall`` shows: the greatest
        time shown and what has passed since its record was appended. None before any sample."""
        shown = self._engine.shown
        if shown is None:
            return None
        time, append = shown
        return time + (wall - append)
