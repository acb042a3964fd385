"""One partition of the metrics topic in the hands of its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chassis.clock import Clock
from chassis.plain_records import PlainRecord
from services.monitor.domain.breaker_plan import NO_BREAKERS, feeds_breaker
from services.monitor.domain.breakers import Breakers, Decision, Removal
from services.monitor.domain.engine import PartitionEngine
from services.monitor.domain.intake import Intake, Taken
from services.monitor.domain.outcomes import Outcome
from services.monitor.handlers.ports import Decided, Meter, PartitionLog, SetAside

CHECKPOINT_EVERY_S = 2.0
"""How much reading a restart may have to repeat at most, in seconds of work."""
PHASES_EVERY_S = 5.0
"""How often the phases of all triggers are counted at most: there may be many thousands."""
ALIVE_EVERY_S = 5.0
"""How often readers of the breakers' decisions are told that the partition is still evaluated."""


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
        self._breakers = Breakers(NO_BREAKERS) if breakers is None else breakers
        self._decided = Decided(breakers=list(redecided))
        self._note_triggers(superseded)
        self._alive_through: int | None = None
        self._alive_at = -ALIVE_EVERY_S
        self._moved = False
        self._written_at = self.time_moved
        self._phases_moved, self._phases_told = False, -PHASES_EVERY_S
        self._writing: asyncio.Task[None] | None = None

    def take(self, records: Sequence[PlainRecord]) -> None:
        """Fold in the next records of the log."""
        taken = self._intake.read(records)
        late, shown = self._engine.late, self._engine.shown
        outcomes = self._engine.advance(taken.columns)
        self._note_triggers(outcomes)
        self._decided.breakers += self._breakers.advance(outcomes, self._engine.evaluated_through)
        self._set_aside(records, taken)
        self._meter.taken(self.number, samples=len(taken.columns.time), late=self._engine.late - late)
        self.next_offset = records[-1].offset + 1
        if self._engine.shown != shown:
            self.time_moved = self._clock.monotonic()
        self._moved = True

    def _note_triggers(self, outcomes: Sequence[Outcome]) -> None:
        """The checks of breakers are evaluated with the triggers, but are none."""
        self._decided.outcomes += [each for each in outcomes if not feeds_breaker(each.rule)]

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
        """Write all that is decided, after what is being written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing
        if self._moved or self._is_due():
            self._phases_told = -PHASES_EVERY_S
            await self._write()

    async def close(self) -> None:
        """Let go; what was not written is decided again by the next owner."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._log.close()
        self._meter.released(self.number)

    def _is_due(self) -> bool:
        if self._decided.outcomes or self._decided.breakers or self._decided.set_aside:
            return True
        return self._moved and self._clock.monotonic() - self._written_at >= CHECKPOINT_EVERY_S

    async def _write_while_due(self) -> None:
        while self._is_due():
            await self._write()

    async def _write(self) -> None:
        """Write what was decided, with the states and the checkpoint, in one transaction."""
        decided, self._decided = self._decided, Decided()
        decided.states = {**self._engine.changes(), **self._breakers.changes()}
        decided.alive_through = self._sign_of_life()
        decided.checkpoint = self._engine.checkpoint(self.next_offset, partitions=self._partitions)
        self._moved = False
        self._written_at = self._clock.monotonic()
        await self._log.write(decided)
        self._meter.written(self.number, decided)
        self._meter.evaluated(self.number, self._engine.evaluated_through)
        self._phases_moved = self._phases_moved or bool(decided.outcomes)
        if self._phases_moved and self._written_at - self._phases_told >= PHASES_EVERY_S:
            self._phases_moved, self._phases_told = False, self._written_at
            phases = [each for each in self._engine.phases() if not feeds_breaker(each[0])]
            self._meter.phases(self.number, phases)
        if decided.breakers:
            self._meter.breakers(self.number, self._breakers.states())

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
