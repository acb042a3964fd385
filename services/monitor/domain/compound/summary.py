"""What compound triggers would have asked for, as lines of a backtest's summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from schemas.commands import FULL_SYSTEM
from services.monitor.domain.compound.definitions import CompoundRule
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.language.groups import Group
from services.monitor.domain.trials.summary import Firing, Line


def summarize_compounds(
    rules: Iterable[CompoundRule], outcomes: Sequence[CompoundOutcome], through: int
) -> list[Line]:
    """A line for each of the compound triggers; ``through`` is the last second evaluated."""
    lines = {rule.name: Line(rule.name, Group(FULL_SYSTEM)) for rule in rules}
    ends = {outcome.trigger_id: outcome.at for outcome in outcomes if outcome.kind != "fired"}
    for outcome in outcomes:
        if outcome.kind != "fired":
            continue
        ended = ends.get(outcome.trigger_id)
        rule = outcome.rule
        firing = Firing(
            trigger_id=outcome.trigger_id,
            fired=outcome.at,
            ended=max(outcome.at, through) if ended is None else ended,
            still=ended is None,
            action=rule.action,
            immediate=rule.immediate,
        )
        lines[rule.name].firings.append(firing)
    return [lines[name] for name in sorted(lines)]
