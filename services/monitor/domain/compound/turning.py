"""The nearest change that would have turned whether a compound trigger fired.

The second stage decides again over the same announcements with one thing changed: the window, how
many components it takes, which members count, or when a member fired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from schemas.reports import ReportKind
from services.monitor.domain.compound.definitions import (
    REPORT_KINDS,
    Cascade,
    CompoundRule,
    MemberFilter,
    Reported,
    Several,
)
from services.monitor.domain.compound.heard import Heard, begun_at, fires
from services.monitor.domain.compound.members import Member, MemberEvent
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.domain.explaining.searching import first_true
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.phases import ANNOUNCE_EVERY_S

LONGEST_WINDOW_S = 86_400
MOST_MEMBERS = 20
"""So many members, the latest, are looked at one by one."""
MOST_TOLD = 5
MOST_TRIED = 200
"""So many other times at which one of them might have fired are tried, the nearest first."""
ANOTHER = "another-component"


@dataclass(frozen=True, slots=True)
class Turn:
    """A setting or a member's firing (``member``: its id), what it is and what it would have to be;
    ``words`` for people. Of a member ``now`` and ``value`` are seconds at which it fires (None: never)."""

    setting: str
    now: float | None
    value: float | None
    words: str
    member: str | None = None
    component: str | None = None


class Turns:
    """Looks for what turns whether ``rule`` fires at some second from ``first`` to ``last``."""

    def __init__(self, rule: CompoundRule, heard: Heard, first: int, last: int, *, fired: bool) -> None:
        self._rule = rule
        self._heard = heard
        self._first, self._last = first, last
        self._fired = fired
        condition = rule.condition
        # Members are changed from here on at the earliest.
        since = first if isinstance(condition, Reported) else first - condition.window
        self._near = begun_at(rule, heard, since)

    def all(self) -> list[Turn]:
        """The changes, each by itself; those of members the nearest first."""
        condition = self._rule.condition
        if isinstance(condition, Reported):
            return [*self._reports(), *self._kinds(condition)]
        found = [self._window(condition), self._count(condition)]
        found += [*self._filters(condition)] if not self._fired else []
        found += self._missed() if self._fired else [*self._moved(condition), self._further(condition)]
        return [each for each in found if each is not None]

    def _turns(self, rule: CompoundRule | None = None, heard: Heard | None = None) -> bool:
        found = fires(rule or self._rule, heard or self._heard, self._first, self._last)
        return found is not self._fired

    def _with(self, condition: Several | Cascade | Reported) -> CompoundRule:
        return replace(self._rule, condition=condition)

    def _window(self, condition: Several | Cascade) -> Turn | None:
        now = condition.window
        choices = range(now - 1, 0, -1) if self._fired else range(now + 1, LONGEST_WINDOW_S + 1)
        value = self._nearest(choices, lambda each: self._with(replace(condition, window=each)))
        if value is None:
            return None
        enough = f"{format_duration(value)} or {'less' if self._fired else 'more'}"
        words = f"a `window` of {enough} instead of {format_duration(now)}"
        return Turn("window", now, value, words)

    def _count(self, condition: Several | Cascade) -> Turn | None:
        now = condition.at_least
        components = len({member.component for member in self._heard.members()})
        choices = range(now + 1, max(now, components) + 2) if self._fired else range(now - 1, 0, -1)
        value = self._nearest(choices, lambda each: self._with(replace(condition, at_least=each)))
        if value is None:
            return None
        setting = "cascade" if isinstance(condition, Cascade) else "at_least"
        enough = f"{value} component{'s' if value > 1 else ''} or {'more' if self._fired else 'fewer'}"
        return Turn(setting, now, value, f"`{setting}` {enough} instead of {now}")

    def _nearest(self, choices: Sequence[int], change: Callable[[int], CompoundRule]) -> int | None:
        index = first_true(len(choices), lambda at: self._turns(change(choices[at])))
        return None if index is None else choices[index]

    def _filters(self, condition: Several | Cascade) -> Iterator[Turn]:
        """Members that fired and do not count."""
        for setting, members in (
            ("members.severity", MemberFilter(triggers=condition.members.triggers)),
            ("members.triggers", MemberFilter(severities=condition.members.severities)),
            ("members", MemberFilter()),
        ):
            if members == condition.members:
                continue
            if self._turns(self._with(replace(condition, members=members))):
                what = {
                    "members.severity": "members of every severity",
                    "members.triggers": "members by every trigger",
                    "members": "every trigger as a member",
                }[setting]
                yield Turn(setting, None, None, f"{what} instead of those{condition.members.words()}")
                return

    def _missed(self) -> Iterator[Turn]:
        """Members without which it would not have fired."""
        for member in self._of_range():
            if self._turns(heard=self._near.without(member.trigger_id)):
                words = f"{_named(member)} not firing (it fired at {rfc3339(member.fired)})"
                yield Turn("member", member.fired, None, words, member.trigger_id, member.component)

    def _moved(self, condition: Several | Cascade) -> list[Turn]:
        """Members that would have made it fire, had they fired at another time; the nearest first."""
        found: dict[str, Turn] = {}
        for member, second in self._elsewhere(condition)[:MOST_TRIED]:
            if len(found) == MOST_TOLD:
                break
            known = member.trigger_id in found
            if not known and self._turns(heard=_fired_at(self._near, member, second)):
                apart = format_duration(abs(second - member.fired))
                side = "earlier" if second < member.fired else "later"
                words = f"{_named(member)} firing at {rfc3339(second)}, {apart} {side}"
                found[member.trigger_id] = Turn(
                    "member", member.fired, second, words, member.trigger_id, member.component
                )
        return list(found.values())

    def _elsewhere(self, condition: Several | Cascade) -> list[tuple[Member, int]]:
        """Each member with other seconds at which it might have fired before its end, the nearest first."""
        members = self._of_range()
        found = []
        for member in members:
            others = [each for each in members if each.component != member.component]
            ended = ended_at(member)
            found += [
                (member, second)
                for second in self._instants(condition, others)
                if second != member.fired and (ended is None or second < ended)
            ]
        return sorted(found, key=lambda each: (abs(each[1] - each[0].fired), each[0].order))

    def _further(self, condition: Several | Cascade) -> Turn | None:
        """One more component that fires: the earliest and the latest second at which that is enough."""
        members = self._of_range()
        seconds = sorted({*self._instants(condition, members), self._first, self._last})
        for component in self._candidates(condition, members):
            enough = [
                second
                for second in seconds
                if self._turns(heard=self._near.with_events(self._announced(condition, component, second)))
            ]
            if enough:
                who = "another component" if component == ANOTHER else component
                times = f"at {rfc3339(enough[0])}"
                if len(enough) > 1:
                    times += f" at the earliest, at {rfc3339(enough[-1])} at the latest"
                named = None if component == ANOTHER else component
                return Turn("further", None, enough[0], f"{who} firing {times}", component=named)
        return None

    def _candidates(self, condition: Several | Cascade, members: Sequence[Member]) -> list[str]:
        if isinstance(condition, Several):
            return [ANOTHER]
        firing = {member.component for member in members}
        needed = [name for _, names in condition.depends_on for name in names]
        known = dict.fromkeys([*(name for name, _ in condition.depends_on), *needed])
        return [name for name in known if name not in firing][:MOST_MEMBERS]

    def _announced(self, condition: Several | Cascade, component: str, second: int) -> list[MemberEvent]:
        """All that would be told, until the last second asked about, of one that counts."""
        names, severities = condition.members.triggers, condition.members.severities
        trigger = names[0] if names else "any"
        made = MemberEvent(
            f"{trigger}:{component}", trigger, component, severities[-1], "fired", second, second
        )
        again = range(second + ANNOUNCE_EVERY_S, self._last + 1, ANNOUNCE_EVERY_S)
        return [made, *(replace(made, kind="firing", at=at) for at in again)]

    def _instants(self, condition: Several | Cascade, members: Sequence[Member]) -> set[int]:
        """The seconds at which it can begin or cease to matter when somebody fires."""
        window = condition.window
        found = {
            at
            for member in members
            for at in (member.fired - window, member.fired, member.fired + window, *_last_second(member))
        }
        return {min(max(at, self._first - window), self._last) for at in found}

    def _of_range(self) -> list[Member]:
        """The members that count, fired by the last second, and had not ended by the first."""
        condition = self._rule.condition
        assert not isinstance(condition, Reported)  # noqa: S101 - reports have no members
        found = [
            member
            for member in self._heard.members()
            if condition.members.fits(member.trigger, member.severity)
            and fires_in(member, self._first, self._last)
        ]
        return found[-MOST_MEMBERS:]

    def _reports(self) -> list[Turn]:
        found = []
        for report in self._heard.reports if self._fired else ():
            if self._turns(heard=self._heard.without(report.id)):
                words = f"no report {report.id} (at {rfc3339(int(report.at))})"
                found.append(Turn("report", report.at, None, words, report.id, report.component))
        return found

    def _kinds(self, condition: Reported) -> Iterator[Turn]:
        """Kinds of reports that were made, and that it does not answer to."""
        for kind in () if self._fired else REPORT_KINDS:
            if kind not in condition.kinds:
                kinds: tuple[ReportKind, ...] = (*condition.kinds, kind)
                if self._turns(self._with(Reported(kinds))):
                    yield Turn("report", None, None, f"`report: {kind}` beside {', '.join(condition.kinds)}")


def fires_in(member: Member, first: int, last: int) -> bool:
    """Whether it fires at some second from ``first`` to ``last``."""
    ended = ended_at(member)
    return member.fired <= last and (ended is None or ended > first)


def ended_at(member: Member) -> int | None:
    """When it was resolved, or was heard to be gone; None while it fires."""
    at, standing = member.newest
    return None if standing == "firing" else at


def _last_second(member: Member) -> tuple[int, ...]:
    ended = ended_at(member)
    return () if ended is None else (ended - 1,)


def _named(member: Member) -> str:
    return f"{member.trigger} of {member.component}"


def _fired_at(heard: Heard, member: Member, second: int) -> Heard:
    """As if the member had fired then, and ended as it did."""
    mine = [event for event in heard.events if event.trigger_id == member.trigger_id]
    rest = [event for event in mine if event.kind != "fired" and event.at > second]
    first = MemberEvent(
        member.trigger_id,
        member.trigger,
        member.component,
        member.severity,
        "fired",
        second,
        min(member.began, second),
    )
    last = member.newest[0]
    between = range(second + ANNOUNCE_EVERY_S, min(member.fired, last) + 1, ANNOUNCE_EVERY_S)
    again = [replace(first, kind="firing", at=at) for at in between]
    return heard.without(member.trigger_id).with_events([first, *again, *rest])
