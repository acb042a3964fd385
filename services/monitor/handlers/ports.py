"""What the monitor's handlers need from the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from chassis.plain_records import PlainRecord
from schemas.metrics import Unread
from services.monitor.domain.breakers.breaker import BreakerState
from services.monitor.domain.breakers.breakers import Decision, Removal
from services.monitor.domain.engine.admission import Overflow
from services.monitor.domain.engine.memory import Checkpoint
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.language.phases import Phase
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.prediction.raised import Told
from services.monitor.domain.prediction.track_record import TrackRecord


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record for the dead-letter topic; ``in_a_row`` is False where a good one came before."""

    record: PlainRecord
    unread: Unread
    in_a_row: bool


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life: ``through`` is the last second evaluated (None: no sample yet), ``behind`` how
    many offsets are left to the end. ``released``: its owner lets go in good order."""

    kind: Literal["evaluating", "released"]
    through: int | None
    next_offset: int
    behind: int


Traced = Mapping[Outcome, tuple[str, ...]]
"""The trace contexts of the records that decided, the last of them first."""


@dataclass(slots=True)
class Decided:
    """What one portion of a partition's log led to: written together or not at all.

    ``alive_through``, where set, tells the readers of ``breakers`` how far has been evaluated;
    ``beat``, where set, tells those who watch over the monitor.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    overflows: list[Overflow] = field(default_factory=list)
    breakers: list[Decision | Removal] = field(default_factory=list)
    alive_through: int | None = None
    beat: Beat | None = None
    traced: dict[Outcome, tuple[str, ...]] = field(default_factory=dict)
    set_aside: list[SetAside] = field(default_factory=list)
    ends_well: bool = False
    states: Mapping[bytes, bytes | None] = field(default_factory=dict)
    predictions: list[Told] = field(default_factory=list)
    prediction_states: Mapping[bytes, bytes | None] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None


class PartitionLog(Protocol):
    """Where decisions are written: triggers, states and checkpoint in one transaction."""

    async def write(self, decided: Decided) -> None:
        """Raises Fenced if another process owns the partition now, TooManyDeadLetters once too
        many records in a row were unreadable. In both cases nothing was written."""
        ...

    async def close(self) -> None: ...


class Meter(Protocol):
    """Counts what the monitor does."""

    def taken(self, partition: int, *, samples: int, late: int) -> None: ...
    def ticked(self, partition: int, *, seconds: float, evaluations: int) -> None:
        """A fetch was folded in and evaluated in so many seconds: a trigger on a group and a second of
        event time is one evaluation."""

    def transacted(self, partition: int, *, seconds: float) -> None: ...
    def behind(self, partition: int, records: int) -> None: ...
    def written(self, partition: int, decided: Decided) -> None: ...
    def evaluated(self, partition: int, through: int | None) -> None: ...
    def phases(self, partition: int, phases: Mapping[Phase, int], *, groups: Mapping[str, int]) -> None:
        """So many instances are in each phase, and so many groups of each trigger, by its name, were seen."""

    def overflowed(self, partition: int, triggers: Sequence[Rule]) -> None: ...
    def drawn(self, partition: int, triggers: Sequence[Rule]) -> None:
        """The baselines of these triggers, and of no other, are worked out from a draw of the samples."""

    def predicted(
        self, partition: int, model: str, track: TrackRecord, *, is_open: int, series: int
    ) -> None: ...
    def breakers(self, partition: int, states: Mapping[str, BreakerState]) -> None: ...
    def released(self, partition: int) -> None: ...
