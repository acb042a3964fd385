"""Do these members make a compound trigger fire, and which of them are the earliest that do?

Pure functions of the members' firing times. Where there are several answers the earliest counts, so
that the same members give the same answer whatever order they are in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.monitor.domain.compound.definitions import Cascade, Several
from services.monitor.domain.compound.members import Member


@dataclass(frozen=True, slots=True)
class Qualified:
    """``members`` are the earliest that qualify, one a component; ``components`` how many there are
    within the window altogether."""

    members: tuple[Member, ...]
    components: int


def qualify(condition: Several | Cascade, firing: Iterable[Member]) -> Qualified | None:
    """The earliest of the members in ``firing`` that satisfy the condition, or None."""
    chosen = [member for member in firing if condition.members.fits(member.trigger, member.severity)]
    if len({member.component for member in chosen}) < condition.at_least:
        return None
    chosen.sort(key=lambda member: member.order)
    if isinstance(condition, Several):
        return _several(condition, chosen)
    return _cascade(condition, chosen)


def _several(condition: Several, members: Sequence[Member]) -> Qualified | None:
    """A window slides over the firing times; the first that holds enough components counts."""
    within: Counter[str] = Counter()
    end = 0
    for begin, first in enumerate(members):
        while end < len(members) and members[end].fired - first.fired <= condition.window:
            within[members[end].component] += 1
            end += 1
        if len(within) >= condition.at_least:
            return Qualified(_first_of_each(members[begin:end], condition.at_least), len(within))
        within[first.component] -= 1
        if not within[first.component]:
            del within[first.component]
    return None


def _cascade(condition: Cascade, members: Sequence[Member]) -> Qualified | None:
    """From each member, the earliest first, as far as failures have spread to those that depend on it."""
    depends_on = condition.dependencies()
    needed = frozenset[str]().union(*depends_on.values())
    tied = _distinct(
        member for member in members if member.component in needed or member.component in depends_on
    )
    seconds = [member.fired for member in tied]
    for begin in tied:
        if begin.component not in needed:
            continue
        first = bisect_left(seconds, begin.fired)
        within = tied[first : bisect_right(seconds, begin.fired + condition.window)]
        spread = _spread(begin, within, depends_on)
        if len(spread) >= condition.at_least:
            return Qualified(tuple(spread[: condition.at_least]), len(spread))
    return None


def _distinct(members: Iterable[Member]) -> list[Member]:
    """The first of those of one component that fired in the same second: the others add nothing."""
    found: dict[tuple[int, str], Member] = {}
    for member in members:
        found.setdefault((member.fired, member.component), member)
    return list(found.values())


def _spread(
    begin: Member, within: Sequence[Member], depends_on: Mapping[str, frozenset[str]]
) -> list[Member]:
    """``begin``, and each member that depends on one before it, one a component, in that order.

    Members that fired in the same second are asked again until none of them joins: which of them
    comes first is an accident of their names.
    """
    joined = {begin.component: begin}
    seconds: dict[int, list[Member]] = {}
    for member in within:
        seconds.setdefault(member.fired, []).append(member)
    for second in sorted(seconds):
        grown = True
        while grown:
            grown = False
            for member in seconds[second]:
                needed = depends_on.get(member.component, frozenset())
                if member.component not in joined and not needed.isdisjoint(joined):
                    joined[member.component] = member
                    grown = True
    return list(joined.values())


def _first_of_each(members: Iterable[Member], count: int) -> tuple[Member, ...]:
    """The first member of each component, of ``count`` components."""
    first: dict[str, Member] = {}
    for member in members:
        first.setdefault(member.component, member)
        if len(first) == count:
            break
    return tuple(first.values())
