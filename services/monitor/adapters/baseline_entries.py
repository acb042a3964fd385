"""What a trigger's value is compared with: the same series before the component's release."""

from __future__ import annotations

from typing import get_args

from chassis.yaml_source import Located
from services.monitor.adapters.check_entries import MAX_WINDOW_S
from services.monitor.adapters.rule_fields import read_choice, read_duration
from services.monitor.domain.language.rules import BASELINE_AGGREGATES, Baseline, BaselineAggregate, Check

DEFAULT_WINDOW_S = 3_600
_EXAMPLE = "Write baseline: {aggregate: p50, window: 1h, before: release}"


def read_baseline(node: Located, check: Check) -> Baseline:
    """``{aggregate: p50, window: 1h, before: release}``; the aggregate is the trigger's own unless
    given, or the median for `last`. Raises ConfigError for what cannot be compared."""
    fields = node.fields(optional=("aggregate", "window", "before"))
    if check.to is not None:
        mend = "Let the metric itself be the ratio, or write a threshold"
        raise node.error("does not go with a ratio", mend=mend)
    own: BaselineAggregate | None = _as_baselines(check)
    if own is None:
        levels = ", ".join(("last", *get_args(BaselineAggregate)))
        raise node.error(
            f"what `{check.aggregate}` gives has no level before a release to be compared with",
            mend=f"Use one of the aggregates {levels}",
        )
    if "aggregate" in fields:
        own = read_choice(fields["aggregate"], BASELINE_AGGREGATES)
    if "before" in fields:
        fields["before"].one_of(("release",))
    window = DEFAULT_WINDOW_S
    if "window" in fields:
        window = read_duration(fields["window"], least=1)
        if window > MAX_WINDOW_S:
            raise fields["window"].error("a baseline's window is a day at most", mend=_EXAMPLE)
    return Baseline(own, window)


def _as_baselines(check: Check) -> BaselineAggregate | None:
    if check.aggregate == "last":
        return "p50"
    return next((known for known in BASELINE_AGGREGATES if known == check.aggregate), None)
