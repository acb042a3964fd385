"""One topic of the second stage in the hands of its owner: decide, and write what was decided.

What a record led to, the states and the offset up to which the topic is decided are written together.
A record that is delivered again below that offset is passed over, so none counts twice.

Most records lead to nothing but a state. Nobody waits for that: it is written when no more records
come, since the triggers of all partitions come at about the same time, and are what the broker
should be busy with then. Until it is written, a restart reads its record again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chassis.errors import Unreadable
from chassis.kafka import Record, TopicPartition
from schemas.metrics import Unread
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.handlers.ports import SetAside

WRITE_EVERY_S = 2.0
"""How long a state may wait where records come one after the other."""


class Stage(Protocol):
    """Decides over one topic. Times are epoch seconds."""

    def take(self, record: Record, now: float) -> list[CompoundOutcome]:
        """What follows from the next record. Raises Unreadable."""
        ...

    def pass_time(self, now: float) -> list[CompoundOutcome]:
        """What follows from the time alone, where the topic has been read to its end."""
        ...

    @property
    def due(self) -> float | None:
        """When ``pass_time`` has something to decide; None where nothing waits."""
        ...

    @property
    def late(self) -> int:
        """How many records came too late for their second, since this was begun."""
        ...

    def changes(self, next_offset: int) -> Mapping[bytes, bytes | None]:
        """The states that have changed since this was asked last, and the checkpoint."""
        ...


@dataclass(slots=True)
class CompoundDecided:
    """What consecutive records, or the time, led to: written together or not at all."""

    next_offset: int
    outcomes: list[CompoundOutcome] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    ends_well: bool = False
    states: Mapping[bytes, bytes | None] = field(default_factory=dict)


class CompoundLog(Protocol):
    """Where decisions are written: events, states and offset in one transaction."""

    async def write(self, decided: CompoundDecided) -> None:
        """Raises Fenced if another process owns the stage now, TooManyDeadLetters once too many
        records in a row were unreadable. In both cases nothing was written."""
        ...

    async def close(self) -> None: ...


class CompoundMeter(Protocol):
    """Counts what the second stage does."""

    def decided(self, source: str, decided: CompoundDecided, late: int) -> None: ...


class CompoundPartition:
    """Goes on at ``next_offset``; ``told`` is what recalling the states had to say."""

    def __init__(
        self,
        source: str,
        place: TopicPartition,
        stage: Stage,
        log: CompoundLog,
        meter: CompoundMeter,
        *,
        next_offset: int,
        told: Sequence[CompoundOutcome] = (),
    ) -> None:
        self.place = place
        self.next_offset = next_offset
        self._source = source
        self._stage = stage
        self._log = log
        self._meter = meter
        self._told = list(told)
        self._late = stage.late
        self._unwritten_since: float | None = None
        self._ends_well = False

    async def begin(self) -> None:
        """Write what recalling the states had to say."""
        if self._told:
            told, self._told = self._told, []
            await self._write(CompoundDecided(self.next_offset, told))

    async def take(self, records: Sequence[Record], now: float) -> None:
        """Decide about these records at the time ``now`` (epoch seconds), and write what others wait
        for. Raises what ``CompoundLog.write`` raises."""
        decided = CompoundDecided(self.next_offset)
        good = self._ends_well
        for record in records:
            if record.offset < decided.next_offset:
                continue
            try:
                decided.outcomes += self._stage.take(record, now)
            except Unreadable as error:
                unread = Unread(error.reason, str(error))
                decided.set_aside.append(SetAside(record, unread, in_a_row=not good))
                good = False
            else:
                good = True
            decided.next_offset = record.offset + 1
        if decided.next_offset == self.next_offset:
            return
        self.next_offset, self._ends_well = decided.next_offset, good
        if self._unwritten_since is None:
            self._unwritten_since = now
        if decided.outcomes or decided.set_aside or now - self._unwritten_since >= WRITE_EVERY_S:
            await self._write(decided)

    async def write_rest(self) -> None:
        """Write what was taken and nobody waited for."""
        if self._unwritten_since is not None:
            await self._write(CompoundDecided(self.next_offset))

    @property
    def due(self) -> float | None:
        return self._stage.due

    async def pass_time(self, now: float) -> None:
        """Decide what the time alone leads to; nothing is written where that is nothing."""
        outcomes = self._stage.pass_time(now)
        if outcomes:
            await self._write(CompoundDecided(self.next_offset, outcomes))

    async def close(self) -> None:
        """Let go; what was not written is decided by the next owner."""
        await self._log.close()

    async def _write(self, decided: CompoundDecided) -> None:
        decided.states = self._stage.changes(decided.next_offset)
        decided.ends_well, self._ends_well = self._ends_well, False
        self._unwritten_since = None
        await self._log.write(decided)
        self._meter.decided(self._source, decided, self._stage.late - self._late)
        self._late = self._stage.late
