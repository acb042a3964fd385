"""What a release changes: from when on it counts, what is compared with what, and for how long."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.memory import Remembered, read_remembered
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.language.conditions import parse_condition
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import State
from services.monitor.domain.language.rules import Baseline, Check, Join, Rule
from tests.unit.monitor.engine_log import T0, rule, run, run_with_restarts, stored
from tests.unit.monitor.reference import LogRecord, Point

HALF_MORE = {"baseline": Baseline("p50", 60), "when": "> 0.5", "window": 5}


def _log(*entries: tuple[int, float | str], component: str = "a") -> list[LogRecord]:
    """Samples ``(second, value)`` and releases ``(second, "release")``, in this order."""
    records = []
    for at, what in entries:
        offset, time = len(records), float(T0 + at)
        if isinstance(what, str):
            records.append(LogRecord(offset, time, release=(component, time)))
        else:
            records.append(LogRecord(offset, time, (Point("m", component, time, what),)))
    return records


def _series(begin: int, end: int, value: float) -> list[tuple[int, float | str]]:
    return [(at, value) for at in range(begin, end)]


def _seen(outcomes: list[Outcome]) -> list[tuple[int, str, str]]:
    return [(each.at - T0, each.after, each.reason) for each in outcomes if each.is_transition]


def test_a_silent_group_lends_its_row_to_nobody() -> None:
    """Three groups, of which the first is silent when the last one gets slow, in portions of any size."""
    slower = rule(group_by=["host"], **HALF_MORE)
    records: list[LogRecord] = []

    def add(at: int, host: str, value: float) -> None:
        time = float(T0 + at)
        point = Point("m", "a", time, value, (("host", host),))
        records.append(LogRecord(len(records), time, (point,)))

    for at in range(40):
        for host, value in (("h1", 1000.0), ("h2", 1000.0), ("h3", 100.0)):
            if host != "h1" or at < 10:
                add(at, host, value)
    records.append(LogRecord(len(records), float(T0 + 40), release=("a", float(T0 + 40))))
    for at in range(41, 60):
        add(at, "h2", 1000.0)
        add(at, "h3", 200.0)
    whole = run([slower], records)
    assert {str(each.of) for each in whole} == {"a, host 'h3'"}
    for size in (1, 2, 7):
        assert run([slower], records, portions=range(size, len(records), size)) == whole


class TestOnlyWithin:
    TRIGGER = rule(only_within=10, window=5)

    def test_without_a_release_nothing_breaches(self) -> None:
        assert run([self.TRIGGER], _log(*_series(0, 30, 20.0))) == []

    def test_a_breach_within_the_time_fires_and_is_resolved_at_its_end_with_a_reason(self) -> None:
        outcomes = run([self.TRIGGER], _log(*_series(0, 5, 20.0), (5, "release"), *_series(5, 30, 20.0)))
        assert _seen(outcomes) == [(5, "firing", "breach_began"), (15, "inactive", "release_too_old")]
        assert outcomes[-1].kind == "resolved"
        assert outcomes[-1].why == "the newest release of a is older than 10s"

    def test_a_breach_that_begins_later_is_none(self) -> None:
        log = _log((0, "release"), *_series(0, 10, 1.0), *_series(10, 30, 20.0))
        assert run([self.TRIGGER], log) == []

    def test_another_release_begins_the_time_anew(self) -> None:
        log = _log((0, "release"), *_series(0, 8, 20.0), (8, "release"), *_series(8, 30, 20.0))
        assert _seen(run([self.TRIGGER], log)) == [
            (0, "firing", "breach_began"),
            (18, "inactive", "release_too_old"),
        ]

    def test_a_release_of_another_component_changes_nothing(self) -> None:
        log = [*_log((0, "release"), component="b"), *_log(*_series(0, 30, 20.0))]
        renumbered = [replace(record, offset=offset) for offset, record in enumerate(log)]
        assert run([self.TRIGGER], renumbered) == []

    def test_the_time_runs_out_without_samples_too(self) -> None:
        log = [*_log((0, "release"), (0, 20.0)), LogRecord(2, T0 + 90.0, clock=T0 + 90.0)]
        assert _seen(run([self.TRIGGER], log)) == [
            (0, "firing", "breach_began"),
            (10, "inactive", "release_too_old"),
        ]

    def test_missing_data_is_no_breach_after_it(self) -> None:
        trigger = rule(only_within=10, window=5, no_data="breach")
        log = [*_log((0, "release"), (0, 1.0)), LogRecord(2, T0 + 10_000.0, clock=T0 + 10_000.0)]
        assert _seen(run([trigger], log)) == [
            (5, "firing", "breach_began"),
            (10, "inactive", "release_too_old"),
        ]


class TestWhenAReleaseCounts:
    TRIGGER = rule(only_within=10, window=5)

    def test_it_moves_no_time_and_waits_for_the_samples(self) -> None:
        log = _log((0, 20.0), (4, "release"), *_series(1, 6, 20.0))
        assert run([self.TRIGGER], log[:4]) == []
        (fired,) = run([self.TRIGGER], log)
        assert fired.at == T0 + 4

    @pytest.mark.parametrize("restarts", [[], [1], [1, 2, 3]])
    def test_one_before_the_first_sample_counts_with_it(self, restarts: list[int]) -> None:
        log = _log((-3, "release"), (-9, "release"), (0, 20.0), *_series(1, 9, 20.0))
        outcomes = run_with_restarts([self.TRIGGER], log, lateness=0.0, restarts=restarts)
        assert _seen(outcomes) == [(0, "firing", "breach_began"), (7, "inactive", "release_too_old")]

    def test_a_late_one_changes_no_evaluation_already_made(self) -> None:
        """It happened at 3 s, and was read when second 8 had been evaluated."""
        log = _log(*_series(0, 9, 20.0), (3, "release"), *_series(9, 30, 20.0))
        assert _seen(run([self.TRIGGER], log)) == [
            (9, "firing", "breach_began"),
            (13, "inactive", "release_too_old"),
        ]

    def test_one_that_is_older_than_the_newest_moves_nothing(self) -> None:
        log = _log((8, 20.0), (8, "release"), *_series(9, 12, 20.0), (2, "release"), *_series(12, 30, 20.0))
        assert _seen(run([self.TRIGGER], log))[-1] == (18, "inactive", "release_too_old")

    def test_one_from_the_far_future_is_set_aside(self) -> None:
        engine = PartitionEngine([self.TRIGGER], allowed_lateness=0.0)
        far = LogRecord(0, float(T0), release=("a", T0 + 61.0))
        near = LogRecord(1, float(T0), release=("a", T0 + 60.0))
        taken = Intake(engine.series).read([stored(far), stored(near)])
        assert [(index, unread.reason) for index, unread in taken.unread] == [(0, "future_time")]
        assert [read.time for read in taken.columns.releases] == [T0 + 60.0]

    def test_one_read_ahead_of_its_time_counts_at_its_time(self) -> None:
        """Also by the process that takes over in between."""
        log = [
            LogRecord(0, float(T0), (Point("m", "a", float(T0), 20.0),)),
            LogRecord(1, float(T0), release=("a", T0 + 3.0)),
        ]
        for at in range(1, 9):
            time = T0 + float(at)
            log.append(LogRecord(at + 1, time, (Point("m", "a", time, 20.0),)))
        whole = run([self.TRIGGER], log)
        assert [outcome.at - T0 for outcome in whole] == [3]
        for restart in range(1, len(log)):
            assert run_with_restarts([self.TRIGGER], log, lateness=0.0, restarts=[restart]) == whole


class TestBaseline:
    TRIGGER = rule(**HALF_MORE)  # type: ignore[arg-type]

    def test_what_is_half_more_than_before_fires(self) -> None:
        log = _log(*_series(0, 30, 100.0), (30, "release"), *_series(30, 40, 150.0), *_series(40, 50, 151.0))
        (fired,) = run([self.TRIGGER], log)
        assert (fired.at - T0, fired.value, fired.baselines) == (40, pytest.approx(0.51), (100.0,))
        assert fired.why == (
            "m against its p50 over 1m before the release of a is 0.51 (> 0.5); the baseline is 100"
        )

    def test_without_a_release_there_is_nothing_to_compare_with(self) -> None:
        log = _log(*_series(0, 30, 100.0), *_series(30, 60, 1_000.0))
        assert run([self.TRIGGER], log) == []
        assert run([rule(**HALF_MORE, no_data="breach")], log) == []  # type: ignore[arg-type]

    def test_neither_is_there_without_samples_before_it(self) -> None:
        log = _log((0, "release"), *_series(0, 30, 100.0), *_series(30, 60, 1_000.0))
        assert run([self.TRIGGER], log) == []

    @pytest.mark.parametrize(("before", "after"), [(0.0, 5.0), (1e308, -1e308)])
    def test_a_baseline_of_0_or_a_difference_beyond_numbers_is_never_a_breach(
        self, before: float, after: float
    ) -> None:
        log = _log(*_series(0, 30, before), (30, "release"), *_series(30, 60, after))
        assert run([self.TRIGGER], log) == []

    def test_below_zero_more_is_nearer_to_zero(self) -> None:
        log = _log(*_series(0, 30, -100.0), (30, "release"), *_series(30, 40, -40.0))
        assert [outcome.value for outcome in run([self.TRIGGER], log)] == [pytest.approx(0.6)]

    def test_the_second_of_the_release_is_not_before_it(self) -> None:
        trigger = rule(baseline=Baseline("max", 60), when="> 0.5", window=5)
        log = _log((0, 100.0), (1, "release"), (1, 400.0), (2, 200.0))
        log[1] = replace(log[1], release=("a", T0 + 0.5))
        (fired,) = run([trigger], log)
        assert (fired.at - T0, fired.value, fired.baselines) == (1, pytest.approx(3.0), (100.0,))

    def test_only_the_window_before_the_release_counts(self) -> None:
        log = _log((0, 1.0), *_series(1, 11, 100.0), (11, "release"), (11, 160.0))
        (fired,) = run([rule(baseline=Baseline("min", 10), when="> 0.5", aggregate="avg", window=1)], log)
        assert (fired.value, fired.baselines) == (pytest.approx(0.6), (100.0,))
        (fired,) = run([rule(baseline=Baseline("min", 11), when="> 0.5", aggregate="avg", window=1)], log)
        assert (fired.value, fired.baselines) == (pytest.approx(159.0), (1.0,))

    def test_another_release_fixes_another_baseline_where_nothing_breaches(self) -> None:
        log = _log(
            *_series(0, 30, 100.0),
            (30, "release"),
            *_series(30, 100, 140.0),
            (100, "release"),
            *_series(100, 110, 200.0),
            *_series(110, 120, 220.0),
        )
        assert [(o.at - T0, o.baselines) for o in run([self.TRIGGER], log)] == [(110, (140.0,))]

    def test_a_repair_is_compared_with_what_was_before_the_bad_release(self) -> None:
        log = _log(
            *_series(0, 30, 100.0),
            (30, "release"),
            *_series(30, 95, 300.0),
            (95, "release"),
            *_series(95, 100, 300.0),
            *_series(100, 110, 101.0),
        )
        outcomes = run([self.TRIGGER], log)
        assert _seen(outcomes) == [(30, "firing", "breach_began"), (100, "inactive", "breach_ended")]
        assert {outcome.baselines for outcome in outcomes} == {(100.0,)}

    def test_a_release_told_late_is_compared_with_what_is_still_kept(self) -> None:
        """Of the 10 s before second 10, at second 16 those from 6 on are kept."""
        trigger = rule(baseline=Baseline("min", 10), when="> 0.5", window=5)
        log = _log(*_series(0, 6, 1.0), *_series(6, 16, 100.0), (10, "release"), *_series(16, 20, 160.0))
        assert [(o.at - T0, o.value) for o in run([trigger], log)] == [(16, pytest.approx(0.6))]

    def test_samples_of_any_rate_are_drawn_alike_whatever_the_portions(self) -> None:
        """Of 200 samples a second some are kept: the same ones, however they come."""
        trigger = rule(baseline=Baseline("p50", 60), when="> 0.0001", window=5)
        log: list[LogRecord] = []
        for at in range(20):
            values = [100.0 + (number * 7919 + at) % 997 for number in range(200)]
            points = [Point("m", "a", T0 + at + n / 200, value) for n, value in enumerate(values)]
            log.append(LogRecord(len(log), T0 + at + 1.0, tuple(points)))
        log.append(LogRecord(len(log), T0 + 21.0, release=("a", T0 + 21.0)))
        for at in range(22, 25):
            log.append(LogRecord(len(log), T0 + at + 0.0, (Point("m", "a", float(T0 + at), 2e3),)))
        (fired,) = whole = run([trigger], log)
        assert fired.baselines == (pytest.approx(598, abs=60),)
        assert run([trigger], log, portions=range(1, 24)) == whole
        assert run_with_restarts([trigger], log, lateness=0.0, restarts=[3, 11, 20, 21, 22]) == whole
        assert run([trigger], log, sweeping=True) == whole


@pytest.mark.parametrize("trigger", [TestOnlyWithin.TRIGGER, TestBaseline.TRIGGER])
def test_a_new_definition_knows_the_release_but_no_baseline(trigger: Rule) -> None:
    """What was before the release was not worked out for it, and may be gone."""
    log = _log(*_series(0, 30, 100.0), (30, "release"), *_series(30, 33, 400.0))
    outcomes = run_with_restarts([rule("other"), trigger], log, lateness=0.0, restarts=[31])
    assert outcomes == run([rule("other"), trigger], log)


def _both(at: float, errors: float, requests: float) -> LogRecord:
    time = T0 + at
    return LogRecord(0, time, (Point("errors", "a", time, errors), Point("requests", "a", time, requests)))


def _counters(begin: int, end: int, errors: float) -> list[LogRecord]:
    """A counter of requests that rises by 20 a second, and one of errors, by so much of that."""
    return [_both(at, 20.0 * errors * (at - begin), 20.0 * at) for at in range(begin, end, 5)]


def _numbered(*parts: LogRecord | list[LogRecord]) -> list[LogRecord]:
    every = [record for part in parts for record in ([part] if isinstance(part, LogRecord) else part)]
    return [replace(record, offset=offset) for offset, record in enumerate(every)]


def _released(at: int) -> LogRecord:
    return LogRecord(0, float(T0 + at), release=("a", float(T0 + at)))


class TestBaselineOfARatio:
    """Against what the ratio itself was, each minute of the hour before the release."""

    WORSE = rule(
        metric="errors",
        to="requests",
        aggregate="rate",
        window=60,
        when="> 0.5",
        baseline=Baseline("p50", 3_600),
    )

    def test_a_ratio_that_is_half_more_than_its_median_before_fires(self) -> None:
        before = _counters(0, 3_600, 0.01)
        slightly, much = _counters(3_600, 4_200, 0.014), _counters(4_200, 4_800, 0.02)
        assert run([self.WORSE], _numbered(before, _released(3_600), slightly)) == []
        fired = run([self.WORSE], _numbered(before, _released(3_600), slightly, much))[0]
        assert fired.at > T0 + 4_200
        assert fired.baselines == (pytest.approx(0.01),)
        assert "errors / requests against its p50 over 1h before the release of a is " in fired.why
        assert "; the baseline is 0.01" in fired.why

    def test_minutes_without_both_metrics_count_for_nothing(self) -> None:
        """Half of the hour is silent, and then no request comes: neither is a ratio."""
        before = _numbered(_counters(0, 1_200, 0.01), _counters(3_000, 3_600, 0.03))
        idle = [_both(at, 7.0, 7.0) for at in range(1_200, 1_800, 5)]
        log = _numbered(before[:240], idle, before[240:], _released(3_600), _counters(3_600, 3_900, 0.05))
        fired = run([self.WORSE], log)[0]
        assert fired.baselines == (pytest.approx(0.01),)

    def test_a_restart_at_any_record_changes_nothing(self) -> None:
        """What the ratio was long before the release needs samples from before the baseline's window."""
        ratio = {"metric": "errors", "to": "requests", "aggregate": "sum", "window": 40}
        worse = rule(when="> 0.1", baseline=Baseline("max", 20), **ratio)  # type: ignore[arg-type]
        before = [_both(at / 2, 0.1 * (at % 7), 0.7) for at in range(160)]
        after = [_both(at, 0.9, 0.7) for at in range(80, 110)]
        log = _numbered(before, _released(80), after)
        (fired,) = whole = run([worse], log)
        assert fired.baselines[0] is not None
        for restart in range(70, len(log), 4):
            assert run_with_restarts([worse], log, lateness=0.0, restarts=[restart]) == whole
            assert run([worse], log, portions=[restart]) == whole
        assert run([worse], log, portions=range(1, len(log))) == whole


class TestBaselinesOfSeveralConditions:
    SLOWER = Check("m", "avg", 5, parse_condition("> 0.5"), baseline=Baseline("avg", 60))
    MANY = Check("n", "last", 300, parse_condition("> 10"))

    def _log(self, *, released: bool) -> list[LogRecord]:
        """After 30 s ``m`` doubles, after 60 s ``n`` is above its threshold."""
        parts: list[LogRecord | list[LogRecord]] = []
        for at in range(90):
            if at == 30 and released:
                parts.append(_released(30))
            time = float(T0 + at)
            points = (
                Point("m", "a", time, 200.0 if at >= 30 else 100.0),
                Point("n", "a", time, 20.0 if at >= 60 else 1.0),
            )
            parts.append(LogRecord(0, time, points))
        return _numbered(*parts)

    def _fired(self, join: Join, *, released: bool) -> list[Outcome]:
        conditions = [(self.SLOWER, self.MANY), (self.MANY, self.SLOWER)]
        first, other = (
            run(
                [
                    rule(
                        metric=one.metric,
                        aggregate=one.aggregate,
                        window=one.window,
                        when=str(one.when),
                        baseline=one.baseline,
                        join=join,
                        further=[two],
                    )
                ],
                self._log(released=released),
            )
            for one, two in conditions
        )
        assert _seen(first) == _seen(other)
        assert [each.baselines for each in first] == [each.baselines[::-1] for each in other]
        return [each for each in first if each.kind == "fired"]

    def test_all_needs_the_release_and_both(self) -> None:
        assert self._fired("all", released=False) == []
        (fired,) = self._fired("all", released=True)
        assert (fired.at - T0, fired.value, fired.baselines) == (60, 1.0, (100.0, None))

    def test_any_needs_no_release_for_the_condition_without_a_baseline(self) -> None:
        (fired,) = self._fired("any", released=False)
        assert (fired.at - T0, fired.value, fired.further, fired.baselines) == (
            60,
            None,
            (20.0,),
            (None, None),
        )
        (fired,) = self._fired("any", released=True)
        assert (fired.at - T0, fired.baselines) == (32, (100.0, None))
        assert fired.why == (
            "avg over 5s of m against its avg over 1m before the release of a is 0.6 (> 0.5); "
            "n of a is 1 (not > 10); the baseline is 100"
        )


def test_a_state_of_an_earlier_version_is_read() -> None:
    """It knew one baseline, of the only condition, or none."""
    trigger = rule(baseline=Baseline("p50", 60), when="> 0.5")
    fields = msgspec.json.decode(Remembered(trigger, Group("a"), State(), 0, -1, -1, (2.5,)).to_bytes())
    assert fields["baseline"] == 2.5
    del fields["further_baselines"]
    assert read_remembered(msgspec.json.encode(fields)).figures == (2.5,)
    del fields["baseline"]
    assert read_remembered(msgspec.json.encode(fields)).figures == (None,)
