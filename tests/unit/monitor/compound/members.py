"""What the tests of compound triggers share: announcements in a line, and a reference to hold against.

The reference looks at every second of whole [fired, resolved) times; it knows neither arrivals nor
announcements nor heaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.monitor.domain.compound.definitions import CompoundRule, MemberFilter, Several
from services.monitor.domain.compound.member_stage import MemberStage
from services.monitor.domain.compound.members import MemberEvent
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.language.phases import Kind
from services.monitor.domain.language.rules import Severity

T0 = 1_767_225_600
FOR = 1_000
"""How long before it fires a member's breach begins."""


@dataclass(frozen=True, slots=True)
class Firing:
    """A member from ``fired`` to ``ended`` (None: to the end)."""

    component: str
    fired: int
    ended: int | None = None
    trigger: str = "slow"
    severity: Severity = "critical"

    @property
    def trigger_id(self) -> str:
        return f"{self.trigger}:{self.component}:{self.fired}"

    def event(self, kind: Kind, at: int) -> MemberEvent:
        began = self.fired - FOR
        return MemberEvent(self.trigger_id, self.trigger, self.component, self.severity, kind, at, began)

    def events(self, through: int, *, announced: bool = True) -> list[MemberEvent]:
        """All that the first stage tells of it up to ``through``."""
        told = [self.event("fired", self.fired)]
        end = through + 1 if self.ended is None else min(self.ended, through + 1)
        if announced:
            told += [self.event("firing", at) for at in range(self.fired + 60, end, 60)]
        if self.ended is not None and self.ended <= through:
            told.append(self.event("resolved", self.ended))
        return told


def several(at_least: int = 3, window: int = 60, name: str = "several", **more: object) -> CompoundRule:
    members = more.pop("members", MemberFilter())
    assert isinstance(members, MemberFilter)
    return CompoundRule(name, Several(at_least, window, members), **more)  # type: ignore[arg-type]


def stage(*rules: CompoundRule, lateness: float = 10, heard_within: int | None = 180) -> MemberStage:
    return MemberStage(rules, lateness=lateness, heard_within=heard_within)


def run(
    subject: MemberStage, arrivals: Iterable[tuple[float, MemberEvent]], through: int
) -> list[CompoundOutcome]:
    """Give the stage each event when it arrives, and let time pass until ``through`` is decided."""
    outcomes = []
    for arrival, event in sorted(arrivals, key=lambda entry: entry[0]):
        outcomes += subject.take(event, arrival)
    return outcomes + subject.advance(through)


def told(outcomes: Iterable[CompoundOutcome]) -> list[tuple[str, int]]:
    """The transitions, as (kind, second)."""
    return [(outcome.kind, outcome.at) for outcome in outcomes if outcome.is_transition]


def ids(outcomes: Iterable[CompoundOutcome]) -> set[str]:
    return {f"{outcome.trigger_id}/{outcome.kind}/{outcome.at}" for outcome in outcomes}


def reference_several(
    at_least: int, window: int, firings: Sequence[Firing], seconds: range
) -> list[tuple[str, int, frozenset[str]]]:
    """(kind, second, members of the episode) of each change, by looking at every second."""
    found: list[tuple[str, int, frozenset[str]]] = []
    episode: frozenset[str] | None = None
    for second in seconds:
        firing = [f for f in firings if f.fired <= second and (f.ended is None or second < f.ended)]
        first = _earliest(at_least, window, firing)
        if episode is None and first is not None:
            episode = first
            found.append(("fired", second, episode))
        elif episode is not None and first is None:
            found.append(("resolved", second, episode))
            episode = None
    return found


def _earliest(at_least: int, window: int, firing: Sequence[Firing]) -> frozenset[str] | None:
    for begin in sorted({f.fired for f in firing}):
        near = sorted(
            (f for f in firing if begin <= f.fired <= begin + window),
            key=lambda f: (f.fired, f.component, f.trigger_id),
        )
        first: Mapping[str, Firing] = {}
        for each in near:
            first = {each.component: each, **first}
            if len(first) == at_least:
                return frozenset(f.trigger_id for f in first.values())
    return None
