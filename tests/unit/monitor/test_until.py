"""``--until`` ends a recorded file: what is later decides nothing, in lines, columns and predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.metrics import Release, Sample, encode_batch, encode_release
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.prediction.alerts import PredictiveAlert
from services.monitor.handlers.backtest import Backtested, SampleTable, backtest_lines, backtest_tables
from services.monitor.handlers.prediction_backtest import PredictionBacktest
from tests.unit.monitor.engine_log import T0, rule, told
from tests.unit.monitor.prediction.recordings import clockwork

RULES = [rule(when="> 10", lasting=4), rule("after_release", when="> 10", only_within=30)]
TIMES = [T0 + at / 2 for at in range(60)]
UNTIL = T0 + 12.0


def _samples(times: Sequence[float]) -> list[Sample]:
    return [Sample("m", "a", 20.0 if time < T0 + 20 else 5.0, time) for time in times]


def _over_lines(times: Sequence[float], release: float) -> Backtested:
    lines = [encode_release(Release("a", release))]
    # Batches hold samples of both sides of the end.
    lines += [encode_batch("a", _samples(times[first : first + 9])) for first in range(0, len(times), 9)]
    return backtest_lines(RULES, lines, allowed_lateness=0.0, until=UNTIL, on_unread=lambda *_: None)


def _over_tables(times: Sequence[float]) -> Backtested:
    samples, zeros = _samples(times), np.zeros(len(times), dtype=np.int64)
    table = SampleTable(
        row=np.arange(1, len(times) + 1),
        metrics=["m"],
        metric=zeros,
        components=["a"],
        component=zeros,
        time=np.array(times),
        value=np.array([sample.value for sample in samples]),
    )
    halves = [slice(0, 10), slice(10, None)]
    tables = [
        SampleTable(
            table.row[part], ["m"], zeros[part], ["a"], zeros[part], table.time[part], table.value[part]
        )
        for part in halves
    ]
    return backtest_tables(RULES[:1], tables, allowed_lateness=0.0, until=UNTIL)


def test_later_lines_and_rows_are_left_out() -> None:
    before = [time for time in TIMES if time <= UNTIL]
    for found, cut in (
        (_over_lines(TIMES, T0), _over_lines(before, T0)),
        (_over_tables(TIMES), _over_tables(before)),
    ):
        assert (found.samples, found.through) == (len(before), {"a": int(UNTIL)})
        assert told(found.outcomes) == told(cut.outcomes)
        assert found.outcomes


def test_a_later_release_is_left_out() -> None:
    named = {outcome.rule.name for outcome in _over_lines(TIMES, UNTIL + 1).outcomes}
    assert named == {"slow"}
    named = {outcome.rule.name for outcome in _over_lines(TIMES, T0).outcomes}
    assert named == {"slow", "after_release"}


def test_nothing_is_predicted_at_later_samples() -> None:
    alert = PredictiveAlert("latency", "p95", Condition(">", 100.0), 1_800, 0.8)
    moments = zip(*clockwork(100), strict=True)
    lines = [
        encode_batch("a", [Sample("p95", "a", 100.0 + float(over), float(time))]) for time, over in moments
    ]
    whole, cut = PredictionBacktest([alert], "all"), PredictionBacktest([alert], "all")
    list(whole.watch(lines))
    every = list(whole.found())
    cut.until = every[40].at
    list(cut.watch(lines))
    assert list(cut.found()) == every[:41]
