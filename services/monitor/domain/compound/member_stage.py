"""The second stage over the triggers topic: when do several components fire together?

It decides on its members' [fired, resolved] times and never on their arrival. Second T is decided
once the stage's time has passed T by ``lateness``; until then it is open who else has fired by T. So
whatever the order in which the announcements of different components come, the same are told of,
under the same ids, as long as each comes before its second is decided. What comes later changes
nothing that was decided, keeps the ids that were told, and counts from the next second on.

Records move time, and where none comes, the clock does: the greatest second announced and what has
passed since its record was appended.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.monitor.domain.compound.definitions import Cascade, CompoundRule, Several
from services.monitor.domain.compound.members import Member, MemberEvent
from services.monitor.domain.compound.outcomes import (
    REPEATED_WITHIN_S,
    CompoundOutcome,
    Episode,
    fired,
    parts_of,
    reason_of,
    superseded,
)
from services.monitor.domain.compound.qualifying import qualify

HEARD_WITHIN_S = 180
"""A firing member is announced each minute. One that was not for so long may still fire, and keeps a
compound trigger from being resolved; it makes none fire, and lets none be announced as live."""
FORGOTTEN_AFTER_S = 86_400
"""A member that was not announced for so long is gone: its partition has no owner any more."""
KEPT_AFTER_END_S = 600
"""How long a member is remembered after its end, should more about it come late."""
_BEFORE_ALL, _AFTER_ALL = -(2**62), 2**62


class Shown(NamedTuple):
    """The greatest second shown, and when its record was appended; epoch seconds."""

    at: float
    append: float


class MemberStage:
    """Knows the members and the episodes of compound triggers.

    ``heard_within`` None: every announcement is known (a backtest), and silence means nothing.
    """

    def __init__(
        self,
        rules: Sequence[CompoundRule],
        *,
        lateness: float,
        heard_within: int | None = HEARD_WITHIN_S,
    ) -> None:
        self.late = 0
        """How many beginnings and ends came after their second had been decided."""
        self.evaluated: int | None = None
        """The last second decided."""
        self.shown: Shown | None = None
        self.members: dict[str, Member] = {}
        self.episodes: dict[str, Episode] = {}
        self._rules = tuple(rules)
        self._lateness = lateness
        self._heard_within = heard_within
        self._firing: dict[str, Member] = {}
        self._waiting: list[tuple[int, str]] = []
        self._timers: list[tuple[int, str]] = []
        self._changed: set[str] = set()

    def recall(
        self,
        *,
        evaluated: int | None,
        shown: Shown | None,
        members: Iterable[Member],
        episodes: Iterable[Episode],
    ) -> list[CompoundOutcome]:
        """Go on from what was kept; the ends of episodes whose definition has changed."""
        self.evaluated, self.shown = evaluated, shown
        for member in members:
            self.members[member.trigger_id] = member
            last = None if evaluated is None else member.last(evaluated)
            if last is not None and last[1] == "firing":
                self._firing[member.trigger_id] = member
            # A changed definition may be satisfied by what fires already.
            for second in (self._next_second(), *(at for at, _ in member.news)):
                if second >= self._next_second():
                    heapq.heappush(self._waiting, (second, member.trigger_id))
            heapq.heappush(self._timers, (_timer(member), member.trigger_id))
        hashes = {rule.name: rule.hash for rule in self._rules}
        outcomes = []
        for episode in episodes:
            if hashes.get(episode.rule.name) == episode.rule.hash:
                self.episodes[episode.rule.name] = episode
            else:
                at = episode.announced if evaluated is None else max(evaluated, episode.announced)
                outcomes.append(superseded(episode, at))
        return outcomes

    def take(self, event: MemberEvent, append: float) -> list[CompoundOutcome]:
        """Note an announcement whose record was appended at ``append``, and decide what is due."""
        self._note(event)
        time = min(float(event.at), append)
        if self.shown is None or time > self.shown.at:
            self.shown = Shown(time, append)
        return self.advance(math.floor(self.shown.at - self._lateness))

    def pass_time(self, now: float) -> list[CompoundOutcome]:
        """Decide what is due at ``now``, where the topic has been read to its end."""
        if self.shown is None:
            return []
        time = min(now, self.shown.at + max(0.0, now - self.shown.append))
        return self.advance(math.floor(time - self._lateness))

    @property
    def due(self) -> float | None:
        """When time has to pass next, by the clock; None where nothing waits for it."""
        second = self._next_due()
        if second is None or self.shown is None:
            return None
        return second + self._lateness - self.shown.at + self.shown.append

    def changed(self) -> dict[str, Member | None]:
        """The members that have changed since this was asked last; None for a forgotten one."""
        found = {trigger_id: self.members.get(trigger_id) for trigger_id in self._changed}
        self._changed.clear()
        return found

    def advance(self, through: int) -> list[CompoundOutcome]:
        """Decide every second up to ``through`` at which something can change."""
        outcomes: list[CompoundOutcome] = []
        while (second := self._next_due()) is not None and second <= through:
            self._pass_timers(second)
            begun, ended = self._stand(second)
            for rule in self._rules:
                outcomes += self._evaluate(rule, second, through, begun=begun, ended=ended)
            self.evaluated = second
        if self.evaluated is None or through > self.evaluated:
            self.evaluated = through
        return outcomes

    def _note(self, event: MemberEvent) -> None:
        known = self.members.get(event.trigger_id)
        member = Member.of(event) if known is None else known.after(event, settled=self.evaluated)
        if self.evaluated is not None and event.at <= self.evaluated:
            self.late += event.kind in ("fired", "resolved", "superseded")
        self.members[event.trigger_id] = member
        self._changed.add(event.trigger_id)
        heapq.heappush(self._waiting, (max(event.at, self._next_second()), event.trigger_id))
        if known is None or member.newest[1] != "firing":
            heapq.heappush(self._timers, (_timer(member), event.trigger_id))

    def _next_second(self) -> int:
        """The first second that is not decided yet."""
        return _BEFORE_ALL if self.evaluated is None else self.evaluated + 1

    def _next_due(self) -> int | None:
        seconds = [episode.due for episode in self.episodes.values()]
        seconds += [waiting[0][0] for waiting in (self._waiting, self._timers) if waiting]
        return max(min(seconds), self._next_second()) if seconds else None

    def _pass_timers(self, second: int) -> None:
        """Forget who ended long ago, and give up who has not been heard of."""
        while self._timers and self._timers[0][0] <= second:
            _, trigger_id = heapq.heappop(self._timers)
            member = self.members.get(trigger_id)
            if member is None:
                continue
            due = _timer(member)
            if due <= second and member.newest[1] != "firing":
                del self.members[trigger_id]
                self._changed.add(trigger_id)
                continue
            if due <= second and self._heard_within is not None:
                member = self.members[trigger_id] = member.told(second, "gone", settled=self.evaluated)
                self._changed.add(trigger_id)
                heapq.heappush(self._waiting, (second, trigger_id))
                due = _timer(member)
            # In a backtest silence means nothing: one that still fires is looked at again later.
            again = due if due > second else second + FORGOTTEN_AFTER_S
            heapq.heappush(self._timers, (again, trigger_id))

    def _stand(self, second: int) -> tuple[bool, bool]:
        """Bring who fires to ``second``; whether any member was announced, and whether any has ended."""
        begun = ended = False
        while self._waiting and self._waiting[0][0] <= second:
            _, trigger_id = heapq.heappop(self._waiting)
            member = self.members.get(trigger_id)
            last = None if member is None else member.last(second)
            if member is not None and last is not None and last[1] == "firing":
                self._firing[trigger_id] = member
                begun = True
            elif self._firing.pop(trigger_id, None) is not None:
                ended = True
        return begun, ended

    def _evaluate(
        self, rule: CompoundRule, second: int, through: int, *, begun: bool, ended: bool
    ) -> list[CompoundOutcome]:
        """Decide one trigger at ``second``. Without an episode only a beginning can change anything,
        in one only an end can, and the next announcement."""
        assert isinstance(rule.condition, Several | Cascade)  # noqa: S101 - reports have a stage of their own
        episode = self.episodes.get(rule.name)
        if episode is None:
            found = qualify(rule.condition, self._live(second)) if begun else None
            if found is None:
                return []
            episode = Episode.at(rule, parts_of(found.members), second)
            self.episodes[rule.name] = episode
            return [fired(episode, found.components, reason_of(rule))]
        if ended and qualify(rule.condition, self._firing.values()) is None:
            del self.episodes[rule.name]
            return [self._ended(rule.condition, episode, second)]
        if second < episode.due:
            return []
        untold = min(through - REPEATED_WITHIN_S, self._quiet_until())
        self.episodes[rule.name] = episode.announced_at(second).passed_over(untold)
        live = qualify(rule.condition, self._live(second))
        if live is None or through - second > REPEATED_WITHIN_S:
            return []
        parts = parts_of(live.members)
        return [CompoundOutcome(second, "firing", "still_firing", episode, parts, live.components)]

    def _ended(self, condition: Several | Cascade, episode: Episode, second: int) -> CompoundOutcome:
        """Resolved, unless it would go on if those who are gone were still firing."""
        gone = [member for member in self.members.values() if _is_gone(member, second)]
        blind = qualify(condition, [*self._firing.values(), *gone])
        if blind is not None:
            parts = parts_of(blind.members)
            return CompoundOutcome(second, "superseded", "members_gone", episode, parts, blind.components)
        left = {member.component for member in self._firing.values() if _fits(condition, member)}
        return CompoundOutcome(second, "resolved", "fewer_firing", episode, episode.parts, len(left))

    def _quiet_until(self) -> int:
        """The last second before a member's news, or a timer, is due."""
        return (
            min((waiting[0][0] for waiting in (self._waiting, self._timers) if waiting), default=_AFTER_ALL)
            - 1
        )

    def _live(self, second: int) -> list[Member]:
        """The members that fire at ``second``, and were heard of lately."""
        within = self._heard_within
        if within is None:
            return list(self._firing.values())
        return [member for member in self._firing.values() if _heard(member, second, within)]


def _fits(condition: Several | Cascade, member: Member) -> bool:
    return condition.members.fits(member.trigger, member.severity)


def _heard(member: Member, second: int, within: int) -> bool:
    last = member.last(second)
    return last is not None and second - last[0] <= within


def _is_gone(member: Member, second: int) -> bool:
    last = member.last(second)
    return last is not None and last[1] == "gone"


def _timer(member: Member) -> int:
    """When this member is to be looked at although nothing is heard of it."""
    at, standing = member.newest
    return at + (FORGOTTEN_AFTER_S if standing == "firing" else KEPT_AFTER_END_S)
