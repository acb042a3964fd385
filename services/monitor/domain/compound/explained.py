"""Why a compound trigger fired or did not: who fired when, who was missing, and what would have turned it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.monitor.domain.compound.definitions import Cascade, CompoundRule, Reported, Several
from services.monitor.domain.compound.heard import Firing, Heard, decide, firings
from services.monitor.domain.compound.members import Member
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.compound.report_stage import LASTS_S, Report
from services.monitor.domain.compound.turning import Turn, Turns, ended_at, fires_in
from services.monitor.domain.language.durations import format_duration


@dataclass(frozen=True, slots=True)
class Seen:
    """A member that fired around the seconds asked about. ``counts``: among the earliest that made the
    trigger fire, or among the most that came together. ``missed`` says why not, in words."""

    member: Member
    ended: int | None
    counts: bool
    missed: str


@dataclass(frozen=True, slots=True)
class CompoundExplanation:
    """Whether ``rule`` ``fired`` at some second from ``first`` to ``last``; ``firing`` is the first such.

    ``together`` is how many components at most counted in those seconds. ``reports`` are those made
    in time to matter.
    """

    rule: CompoundRule
    first: int
    last: int
    fired: bool
    firing: Firing | None
    together: int
    changes: list[CompoundOutcome]
    members: list[Seen]
    reports: list[Report]
    turns: list[Turn]


def explain_compound(rule: CompoundRule, heard: Heard, first: int, last: int) -> CompoundExplanation:
    """Decide again over what was told, and say what came of it."""
    outcomes = decide(rule, heard)
    mine = [each for each in firings(outcomes) if each.overlaps(first, last)]
    firing = mine[0] if mine else None
    turns = Turns(rule, heard, first, last, fired=bool(mine)).all()
    condition = rule.condition
    members: list[Seen] = []
    reports: list[Report] = []
    together = 0
    if isinstance(condition, Reported):
        reports = [each for each in heard.reports if first - LASTS_S < each.at < last + 1]
        together = sum(1 for each in reports if each.kind in condition.kinds)
    else:
        counted, together = _counted(rule, condition, heard, first, last, firing)
        members = _seen(condition, heard.members(), counted, first, last)
    return CompoundExplanation(
        rule=rule,
        first=first,
        last=last,
        fired=bool(mine),
        firing=firing,
        together=together,
        changes=[each for each in outcomes if first - _around(rule) <= each.at <= last],
        members=members,
        reports=reports,
        turns=turns,
    )


def firing_of(rule: CompoundRule, heard: Heard, trigger_id: str) -> Firing | None:
    """The firing with this id; None if what was told makes none."""
    return next((each for each in firings(decide(rule, heard)) if each.trigger_id == trigger_id), None)


def _around(rule: CompoundRule) -> int:
    condition = rule.condition
    return LASTS_S if isinstance(condition, Reported) else condition.window


def _counted(
    rule: CompoundRule,
    condition: Several | Cascade,
    heard: Heard,
    first: int,
    last: int,
    firing: Firing | None,
) -> tuple[set[str], int]:
    """The ids of the members that made it fire, or of the most that came together; and how many
    components those are."""
    if firing is not None:
        return {part.id for part in firing.fired.parts}, firing.fired.value
    milder = [
        CompoundRule(rule.name, _needing(condition, count)) for count in range(condition.at_least - 1, 0, -1)
    ]
    for changed in milder:
        found = next((each for each in firings(decide(changed, heard)) if each.overlaps(first, last)), None)
        if found is not None:
            return {part.id for part in found.fired.parts}, changed.threshold
    return set(), 0


def _needing(condition: Several | Cascade, count: int) -> Several | Cascade:
    if isinstance(condition, Several):
        return Several(count, condition.window, condition.members)
    return Cascade(count, condition.window, condition.depends_on, condition.members)


def _seen(
    condition: Several | Cascade, members: Sequence[Member], counted: set[str], first: int, last: int
) -> list[Seen]:
    """Those that fired in the seconds asked about or in the window before them."""
    chosen = [each for each in members if each.trigger_id in counted]
    return [
        Seen(
            member,
            ended_at(member),
            member.trigger_id in counted,
            "" if member.trigger_id in counted else _missed(condition, member, chosen),
        )
        for member in members
        if fires_in(member, first - condition.window, last) or member.trigger_id in counted
    ]


def _missed(condition: Several | Cascade, member: Member, chosen: Sequence[Member]) -> str:
    """Why a member is not among ``chosen``."""
    wanted = condition.members
    if wanted.triggers and member.trigger not in wanted.triggers:
        return f"does not count: only {', '.join(wanted.triggers)} do"
    if member.severity not in wanted.severities:
        return f"does not count: only severity {' or '.join(wanted.severities)} does"
    if any(each.component == member.component for each in chosen):
        return "its component counts once"
    if not chosen:
        return ""
    begin, end = min(each.fired for each in chosen), max(each.fired for each in chosen)
    window = format_duration(condition.window)
    if member.fired > begin + condition.window:
        return f"outside the window: {format_duration(member.fired - begin)} after the first, not {window}"
    if member.fired < end - condition.window:
        return f"outside the window: {format_duration(end - member.fired)} before the last, not {window}"
    ended = ended_at(member)
    if ended is not None and ended <= end:
        return "had ended before the others came together"
    if isinstance(condition, Cascade):
        return "depends on none of those before it, and none of them on it"
    return "further than needed" if len(chosen) >= condition.at_least else "did not fire while the others did"
