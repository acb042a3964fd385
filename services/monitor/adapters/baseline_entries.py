"""What a value is compared with: what it was itself before the component's release."""

from __future__ import annotations

from chassis.yaml_source import Located
from services.monitor.adapters.check_entries import MAX_WINDOW_S
from services.monitor.adapters.rule_fields import read_choice, read_duration
from services.monitor.domain.language.aggregates import BASELINE_AGGREGATES, Aggregate
from services.monitor.domain.language.rules import Baseline, Check

BASELINE_KEY = "baseline"
DEFAULT_WINDOW_S = 3_600
_MEDIAN: Aggregate = "p50"
_EXAMPLE = "Write baseline: {aggregate: p50, window: 1h, before: release}"


def read_baseline(node: Located, check: Check) -> Baseline:
    """``{aggregate: p50, window: 1h, before: release}``; the aggregate is the check's own unless given, or
    the median where that is none of a baseline's. Raises ConfigError for what cannot be compared."""
    fields = node.fields(optional=("aggregate", "window", "before"))
    if check.traits.is_relative:
        raise node.error(
            f"what `{check.aggregate}` gives is relative already: it has no level to be compared with",
            mend="Use another aggregate, or remove `baseline`",
        )
    own = _as_baselines(check)
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


def _as_baselines(check: Check) -> Aggregate:
    """A ratio of two percentiles is none itself: of those, too, the median."""
    return check.aggregate if check.is_level and check.traits.sums_up else _MEDIAN
