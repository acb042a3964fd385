"""Whatever the log: the engine agrees with the reference, and neither the size of the portions
nor restarts change anything."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.language.aggregates import AGGREGATES, BASELINE_AGGREGATES, TRAITS, Aggregate
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import NoData
from services.monitor.domain.language.rules import DEFAULT_MAX_GROUPS, Baseline, Check, Rule
from tests.unit.monitor.engine_log import T0, rule, run, run_with_restarts, told
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine, Told

QUARTERS = st.integers(-20, 120).map(lambda quarters: quarters / 4)
VALUES = st.sampled_from([0.0, 1.0, 9.5, 10.0, 10.5, 11.0, 20.0, -3.0])
TRENDS: Sequence[Aggregate] = ("rate", "change")
WINDOWS = (1, 2, 3, 5, 7, 11, 30)
LABELS = st.sampled_from(
    [(), (), (("zone", "east"),), (("zone", "west"), ("host", "1")), (("host", "1"), ("zone", "east"))]
)
NO_DATA: Sequence[NoData] = ("hold", "ok", "breach")


BASELINES = st.one_of(
    st.none(), st.builds(Baseline, st.sampled_from(BASELINE_AGGREGATES), st.sampled_from([1, 3, 30, 200]))
)
CHECKS = st.builds(
    Check,
    metric=st.sampled_from(["m", "n", "x"]),
    aggregate=st.sampled_from([name for name in AGGREGATES if TRAITS[name].least_window == 1]),
    window=st.sampled_from([1, 3, 30]),
    when=st.just(Condition(">", 9.5)),
    clear=st.sampled_from([None, Condition("<", 9.0)]),
    to=st.sampled_from([None, None, "y"]),
    baseline=BASELINES,
)


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    made = []
    for index in range(draw(st.integers(1, 3))):
        upward = draw(st.booleans())
        aggregate = draw(st.sampled_from(AGGREGATES))
        quorum = draw(st.sampled_from([None, None, 1, 2, 3]))
        lasting = st.sampled_from([3, 4, 10] if quorum else [0, 1, 3, 10])
        baseline = None if TRAITS[aggregate].is_relative else draw(BASELINES)
        high, low = ("0.5", "0.25") if aggregate in TRENDS or baseline else ("10", "9.5")
        made.append(
            rule(
                f"rule{index}",
                metric=draw(st.sampled_from(["m", "n"])),
                aggregate=aggregate,
                window=draw(st.sampled_from([at for at in WINDOWS if at >= TRAITS[aggregate].least_window])),
                when=f"> {high}" if upward else f"<= {low}",
                clear=draw(st.sampled_from([None, f"< {high}" if upward else f"> {high}"])),
                lasting=draw(lasting),
                quorum=quorum,
                keep=draw(st.sampled_from([0, 0, 2, 5])),
                min_samples=draw(st.sampled_from([1, 1, 2, 3])),
                no_data=draw(st.sampled_from(NO_DATA)),
                matchers=draw(st.sampled_from([(), (), ("zone=east",), ("zone=",)])),
                to=draw(st.sampled_from([None, None, "x"])),
                join=draw(st.sampled_from(["all", "any"])),
                further=draw(st.lists(CHECKS, max_size=2)),
                baseline=baseline,
                only_within=draw(st.sampled_from([None, None, None, 1, 4, 30])),
                max_groups=draw(st.sampled_from([DEFAULT_MAX_GROUPS, DEFAULT_MAX_GROUPS, 1, 2])),
                group_by=draw(st.sampled_from([(), (), ("host",), ("zone", "host")])),
            )
        )
    return made


@st.composite
def logs(draw: st.DrawFn) -> list[LogRecord]:
    """Times wander forward with late samples, gaps of minutes, batches and clock records."""
    now = float(T0)
    offset = draw(st.integers(0, 5))
    records = []
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.0, 1.0, 2.0, 9.0, 200.0, 700.0]))
        append = now + draw(st.sampled_from([0.0, 0.0, 0.5, 3.0]))
        kind = draw(st.sampled_from(["sample"] * 6 + ["batch", "clock", "release"]))
        if kind == "clock":
            records.append(LogRecord(offset, append, clock=now))
        elif kind == "release":
            behind = draw(st.sampled_from([0.0, 0.0, 0.25, 2.0, 8.0, 40.0, -5.0]))
            records.append(LogRecord(offset, append, release=(draw(st.sampled_from("ab")), now - behind)))
        else:
            points = []
            for _ in range(1 if kind == "sample" else draw(st.integers(2, 4))):
                behind = draw(st.sampled_from([0.0] * 6 + [0.25, 2.0, 6.0, 40.0, -5.0]))
                metric, component = (
                    draw(st.sampled_from(["m", "m", "n", "x", "y"])),
                    draw(st.sampled_from("ab")),
                )
                points.append(Point(metric, component, now - behind, draw(VALUES), draw(LABELS)))
            records.append(LogRecord(offset, append, tuple(points)))
        offset += draw(st.sampled_from([1, 1, 1, 3]))
    return records


LATENESS = st.sampled_from([0.0, 0.5, 2.0])
PLENTY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _expected(of_rules: Sequence[Rule], log: Sequence[LogRecord], lateness: float) -> list[Told]:
    reference = ReferenceEngine(of_rules, lateness)
    return reference.run(log)


@PLENTY
@given(rules(), logs(), LATENESS)
def test_the_engine_agrees_with_the_reference(
    of_rules: list[Rule], log: list[LogRecord], lateness: float
) -> None:
    assert told(run(of_rules, log, lateness=lateness)) == _expected(of_rules, log, lateness)


@PLENTY
@given(rules(), logs(), LATENESS, st.lists(st.integers(1, 24), max_size=24))
def test_the_size_of_the_portions_changes_nothing(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: list[int]
) -> None:
    whole = run(of_rules, log, lateness=lateness)
    assert run(of_rules, log, lateness=lateness, portions=portions) == whole


@PLENTY
@given(rules(), logs(), LATENESS, st.lists(st.integers(1, 24), max_size=24))
def test_restarts_at_any_record_change_nothing(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, restarts: list[int]
) -> None:
    whole = run(of_rules, log, lateness=lateness)
    assert run_with_restarts(of_rules, log, lateness=lateness, restarts=restarts) == whole


def test_a_restart_puts_no_old_sample_into_a_later_second() -> None:
    """What a window needs no longer must not come back at the end of the silence after a restart. It is
    read again because its record holds a later sample, too."""

    def record(offset: int, append: int, *points: tuple[int, float]) -> LogRecord:
        made = tuple(Point("m", "a", float(T0 + at), value) for at, value in points)
        return LogRecord(offset, float(T0 + append), made)

    log = [
        record(0, 1, (1, 20.0), (3, 20.0)),
        record(1, 3, (3, 20.0)),
        record(2, 3, (-5, 0.0)),
        record(3, 700, (700, 0.0)),
    ]
    of_rules = [rule("mean", aggregate="avg", window=1, no_data="ok")]
    whole = run(of_rules, log)
    assert [outcome.at - T0 for outcome in whole] == [1, 2, 3, 4]
    assert run_with_restarts(of_rules, log, lateness=0.0, restarts=[1]) == whole
