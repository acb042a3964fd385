"""How many components a compound trigger counts at a second, whether it fires or not."""

from __future__ import annotations

from collections.abc import Iterable

from services.monitor.domain.compound.definitions import Cascade, Several
from services.monitor.domain.compound.members import Member
from services.monitor.domain.compound.qualifying import qualify


def firing_at(members: Iterable[Member], second: int) -> list[Member]:
    """The members that fire at ``second``, as far as has been heard of them, the earliest first."""
    firing = [each for each in members if (last := each.last(second)) is not None and last[1] == "firing"]
    return sorted(firing, key=lambda each: each.order)


def components_at(condition: Several | Cascade, members: Iterable[Member], second: int) -> int:
    """Within the window, where the condition holds; otherwise all that have a member that fires."""
    firing = firing_at(members, second)
    found = qualify(condition, firing)
    if found is not None:
        return found.components
    fitting = (each for each in firing if condition.members.fits(each.trigger, each.severity))
    return len({each.component for each in fitting})
