"""With ``last``, ``no_data: ok``, five minutes of staleness and one sample: a Prometheus alerting
rule on the same samples (its documented semantics, written down here a second time)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.monitor.engine_log import T0, rule, run
from tests.unit.monitor.reference import LogRecord, Point

LOOKBACK_S = 300


@dataclass
class AlertingRule:
    """One alert: ``for`` and ``keep_firing_for`` as in Prometheus' rules/alerting.go."""

    hold: int
    keep_firing: int
    state: str = "inactive"
    active_at: int = 0
    keep_since: int | None = None

    def evaluate(self, at: int, *, active: bool) -> str:
        if active:
            self.keep_since = None
            if self.state == "inactive":
                self.state, self.active_at = "pending", at
            if self.state == "pending" and at - self.active_at >= self.hold:
                self.state = "firing"
        elif self.state == "pending":
            self.state = "inactive"
        elif self.state == "firing":
            self.keep_since = at if self.keep_since is None else self.keep_since
            if at - self.keep_since >= self.keep_firing:
                self.state = "inactive"
        return self.state


@given(
    gaps=st.lists(st.sampled_from([1, 1, 1, 5, 29, 310]), min_size=1, max_size=30),
    values=st.lists(st.sampled_from([5.0, 15.0]), min_size=30, max_size=30),
    hold=st.sampled_from([0, 2, 60]),
    keep=st.sampled_from([0, 3, 60]),
)
@settings(max_examples=150, deadline=None)
def test_the_same_transitions_as_a_prometheus_rule(
    gaps: list[int], values: list[float], hold: int, keep: int
) -> None:
    samples, at = [], T0
    for gap, value in zip(gaps, values, strict=False):
        samples.append((at, value))
        at += gap
    end = at + 400

    alert, expected, before = AlertingRule(hold, keep), [], "inactive"
    for second in range(T0, end + 1):
        window = [value for time, value in samples if second - LOOKBACK_S < time <= second]
        after = alert.evaluate(second, active=bool(window) and window[-1] > 10)
        if after != before:
            expected.append((second, before, after))
        before = after

    log = [
        LogRecord(offset, float(time), (Point("m", "c", float(time), value),))
        for offset, (time, value) in enumerate(samples)
    ]
    log.append(LogRecord(len(log), math.ceil(end), clock=float(end)))
    ours = run([rule(lasting=hold, keep=keep, no_data="ok", window=LOOKBACK_S)], log)
    transitions = [(o.at, o.before, o.after) for o in ours if o.is_transition]
    assert transitions == expected
