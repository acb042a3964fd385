"""What the second stage was told, so that a compound trigger can be decided over it again.

The state machine is the live one. It is given each announcement when it was appended, and time passes
in between as it does where nothing waits to be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from services.monitor.domain.compound.definitions import CompoundRule, Reported
from services.monitor.domain.compound.member_stage import MemberStage, Shown
from services.monitor.domain.compound.members import Member, MemberEvent
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.compound.report_stage import Report, ReportStage


@dataclass(frozen=True, slots=True)
class Arrival:
    """An announcement of a member, or a report, and when it was appended (epoch seconds)."""

    append: float
    what: MemberEvent | Report


@dataclass(frozen=True, slots=True)
class Begun:
    """What the stage knew before the first arrival, as a restart would recall it: no trigger fired."""

    evaluated: int | None
    shown: Shown | None
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """Arrivals in their order; every second up to ``through`` is decided. ``lateness`` and
    ``heard_within`` in seconds, as the stage has them (None: silence means nothing)."""

    arrivals: tuple[Arrival, ...]
    through: int
    lateness: float
    heard_within: int | None
    begun: Begun | None = None

    @property
    def events(self) -> list[MemberEvent]:
        return [each.what for each in self.arrivals if isinstance(each.what, MemberEvent)]

    @property
    def reports(self) -> list[Report]:
        """Each once, in the order in which they came."""
        found = {each.what.id: each.what for each in self.arrivals if isinstance(each.what, Report)}
        return list(found.values())

    def members(self) -> list[Member]:
        """Everything that was said of each member, the earliest first."""
        found: dict[str, Member] = {}
        for event in self.events:
            known = found.get(event.trigger_id)
            found[event.trigger_id] = Member.of(event) if known is None else known.after(event)
        return sorted(found.values(), key=lambda member: member.order)

    def between(self, since: int, until: int) -> Heard:
        """Without what was announced of earlier and later seconds."""
        kept = tuple(each for each in self.arrivals if since <= each.what.at <= until)
        return replace(self, arrivals=kept)

    def without(self, trigger_id: str) -> Heard:
        """As if this member or report had never been."""
        begun = self.begun
        if begun is not None:
            members = tuple(each for each in begun.members if each.trigger_id != trigger_id)
            begun = replace(begun, members=members)
        arrivals = tuple(each for each in self.arrivals if _id(each) != trigger_id)
        return replace(self, arrivals=arrivals, begun=begun)

    def with_events(self, events: Iterable[MemberEvent]) -> Heard:
        """As if these, too, had been announced, each at its own second."""
        arrivals = [*self.arrivals, *(Arrival(float(event.at), event) for event in events)]
        if self.heard_within is None:
            arrivals.sort(key=lambda each: each.append)
        else:
            arrivals = _in_place(self.arrivals, events)
        return replace(self, arrivals=tuple(arrivals))


def _in_place(arrivals: Sequence[Arrival], events: Iterable[MemberEvent]) -> list[Arrival]:
    """Each new event stands before the first that tells of a later second, and comes with that."""
    found = list(arrivals)
    for event in sorted(events, key=lambda each: each.at):
        at = next((i for i, each in enumerate(found) if _second(each) > event.at), len(found))
        append = found[at].append if at < len(found) else max(found[-1].append, float(event.at))
        found.insert(at, Arrival(append, event))
    return found


def _id(arrival: Arrival) -> str:
    what = arrival.what
    return what.id if isinstance(what, Report) else what.trigger_id


def _second(arrival: Arrival) -> float:
    return arrival.what.at


@dataclass(frozen=True, slots=True)
class Firing:
    """From ``fired`` to ``ended`` (None: it still fires)."""

    fired: CompoundOutcome
    ended: CompoundOutcome | None

    @property
    def trigger_id(self) -> str:
        return self.fired.trigger_id

    def overlaps(self, first: int, last: int) -> bool:
        """Whether it fires at some second from ``first`` to ``last``."""
        return self.fired.at <= last and (self.ended is None or self.ended.at > first)


def decide(rule: CompoundRule, heard: Heard) -> list[CompoundOutcome]:
    """The changes of phase of one compound trigger over what was told."""
    outcomes = _by_reports(rule, heard) if isinstance(rule.condition, Reported) else _by_members(rule, heard)
    return [outcome for outcome in outcomes if outcome.is_transition]


def firings(outcomes: Iterable[CompoundOutcome]) -> Iterator[Firing]:
    """The firings that changes of phase make, in their order."""
    begun: CompoundOutcome | None = None
    for outcome in outcomes:
        if outcome.kind == "fired":
            begun = outcome
        elif begun is not None:
            yield Firing(begun, outcome)
            begun = None
    if begun is not None:
        yield Firing(begun, None)


def fires(rule: CompoundRule, heard: Heard, first: int, last: int) -> bool:
    """Whether it fires at some second from ``first`` to ``last``."""
    return any(each.overlaps(first, last) for each in firings(decide(rule, heard)))


def begun_at(rule: CompoundRule, heard: Heard, second: int) -> Heard:
    """From the first arrival on that tells of ``second`` or later, or of before a firing that ``second``
    falls into; what came before that is recalled. So that changing something later costs only what
    follows."""
    if isinstance(rule.condition, Reported):
        return heard
    for each in reversed(list(firings(decide(rule, heard)))):
        if each.overlaps(second - 1, second):
            second = min(second, each.fired.at - rule.condition.window)
    at = next((i for i, each in enumerate(heard.arrivals) if each.what.at >= second), len(heard.arrivals))
    stage = _stage(rule, heard)
    for arrival in heard.arrivals[:at]:
        _take(stage, heard, arrival)
    if stage.episodes:
        return heard
    begun = Begun(stage.evaluated, stage.shown, tuple(stage.members.values()))
    return replace(heard, arrivals=heard.arrivals[at:], begun=begun)


def _by_members(rule: CompoundRule, heard: Heard) -> list[CompoundOutcome]:
    stage = _stage(rule, heard)
    outcomes: list[CompoundOutcome] = []
    for arrival in heard.arrivals:
        outcomes += _take(stage, heard, arrival)
    return [*outcomes, *stage.advance(heard.through)]


def _stage(rule: CompoundRule, heard: Heard) -> MemberStage:
    stage = MemberStage([rule], lateness=heard.lateness, heard_within=heard.heard_within)
    if heard.begun is not None:
        begun = heard.begun
        stage.recall(evaluated=begun.evaluated, shown=begun.shown, members=begun.members, episodes=())
    return stage


def _take(stage: MemberStage, heard: Heard, arrival: Arrival) -> list[CompoundOutcome]:
    if not isinstance(arrival.what, MemberEvent):
        return []
    passed = [] if heard.heard_within is None else stage.pass_time(arrival.append)
    return [*passed, *stage.take(arrival.what, arrival.append)]


def _by_reports(rule: CompoundRule, heard: Heard) -> list[CompoundOutcome]:
    stage = ReportStage([rule])
    outcomes: list[CompoundOutcome] = []
    for arrival in heard.arrivals:
        if isinstance(arrival.what, Report):
            outcomes += stage.take(arrival.what, arrival.append)
    return [*outcomes, *stage.pass_time(float(heard.through))]
