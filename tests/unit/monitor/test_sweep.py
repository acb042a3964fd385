"""A swept log has the outcomes of one that is evaluated at each second, to the last bit."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.engine import series
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.runs import NEVER, after_run, next_event_in_run
from services.monitor.domain.engine.sweep import can_be_swept
from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.language.phases import Finding as PhaseFinding
from services.monitor.domain.language.phases import NoData, State, Terms, Verdict, step
from services.monitor.domain.language.rules import Rule
from tests.unit.monitor.engine_log import T0, rule, run, run_with_restarts, stored, told
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine
from tests.unit.monitor.test_engine_properties import AGGREGATES, LATENESS, logs, rules

PLENTY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
PORTIONS = st.lists(st.integers(1, 24), max_size=24)


@PLENTY
@given(rules(), logs(), LATENESS)
def test_sweeping_agrees_with_the_reference(
    of_rules: list[Rule], log: list[LogRecord], lateness: float
) -> None:
    reference = ReferenceEngine(of_rules, lateness)
    expected = reference.run(log)
    assert told(run(of_rules, log, lateness=lateness, sweeping=True)) == expected


@PLENTY
@given(rules(), logs(), LATENESS, PORTIONS)
def test_sweeping_agrees_with_every_second_in_any_portions(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: list[int]
) -> None:
    each_second = run(of_rules, log, lateness=lateness)
    assert run(of_rules, log, lateness=lateness, portions=portions, sweeping=True) == each_second


@PLENTY
@given(rules(), logs(), LATENESS, PORTIONS)
def test_sweeping_goes_on_after_restarts(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, restarts: list[int]
) -> None:
    each_second = run(of_rules, log, lateness=lateness)
    assert (
        run_with_restarts(of_rules, log, lateness=lateness, restarts=restarts, sweeping=True) == each_second
    )


@PLENTY
@given(rules(), logs(), LATENESS)
def test_without_announcements_the_changes_of_phase_are_the_same(
    of_rules: list[Rule], log: list[LogRecord], lateness: float
) -> None:
    engine = PartitionEngine(of_rules, allowed_lateness=lateness, sweeping=True, announcing=False)
    found = engine.advance(Intake(engine.series).read([stored(record) for record in log]).columns)
    each_second = run(of_rules, log, lateness=lateness)
    assert [each for each in found if each.is_transition] == [
        each for each in each_second if each.is_transition
    ]


@PLENTY
@given(rules(), logs(), LATENESS, PORTIONS)
def test_some_triggers_swept_and_others_at_each_second(
    of_rules: list[Rule], log: list[LogRecord], lateness: float, portions: list[int]
) -> None:
    """A trigger that can't be swept is evaluated beside those that can, of the same shape or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            series,
            "can_be_swept",
            lambda rule: can_be_swept(rule) and rule.name != "rule1" and rule.window != 7,
        )
        found = run(of_rules, log, lateness=lateness, portions=portions, sweeping=True)
    assert found == run(of_rules, log, lateness=lateness)


def _real_shaped(seed: int, values: Sequence[float], hours: int = 1) -> list[LogRecord]:
    """Two series with a sample about every 15 s; some late, some doubled, gaps of minutes."""
    chance = random.Random(seed)  # noqa: S311
    log: list[LogRecord] = []
    at = float(T0)
    while at < T0 + hours * 3_600:
        at += chance.choice([15.0, 15.0, 15.0, 15.0, 14.75, 15.25, 0.0, 1.0])
        if chance.random() < 0.005:
            at += chance.choice([40, 200, 700])
        base = chance.choice(values)
        for metric in "mn":
            behind = chance.choice([0.0] * 30 + [3.0, 17.0, 100.0])
            value = base * chance.uniform(0.9, 1.1) if chance.random() < 0.8 else base
            log.append(LogRecord(len(log), at, (Point(metric, "a", at - behind, value),)))
    return log


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("when", ["> 10", "< 9.9", "== 10", "!= 10"])
def test_rounding_decides_alike(seed: int, when: str) -> None:
    """Values around and at the threshold, of very different sizes, over windows of many samples."""
    log = _real_shaped(seed, [0.1, 9.9, 10.0, 10.0, 10.1, 1e9 if seed % 2 else 20.0])
    of_rules = [
        rule(
            f"{aggregate}{window}{no_data}",
            metric=metric,
            aggregate=aggregate,
            window=window,
            when=when,
            clear={"> 10": "< 9.9", "< 9.9": "> 10"}.get(when) if metric == "n" else None,
            lasting=lasting,
            keep=30,
            min_samples=2,
            no_data=no_data,
        )
        for metric in "mn"
        for aggregate in AGGREGATES
        for window, lasting, no_data in ((45, 60, "hold"), (300, 0, "ok"), (901, 45, "breach"))
    ]
    each_second = run(of_rules, log, lateness=2.0)
    assert len(each_second) > 20
    assert run(of_rules, log, lateness=2.0, sweeping=True) == each_second


@pytest.mark.parametrize("aggregate", ["avg", "sum"])
@pytest.mark.parametrize("when", ["> 0.3", ">= 0.3", "< 0.3", "<= 0.30000000000000004", "> 0.1", "== 0.1"])
def test_sums_at_the_threshold_are_added_as_the_banks_add_them(aggregate: Aggregate, when: str) -> None:
    """Differences of running sums are off by far more than the last bit after a large value."""
    chance = random.Random(5)  # noqa: S311
    log = []
    for at in range(400):
        value = 1e9 if at % 50 == 7 else chance.choice([0.1, 0.1, 0.1, 0.2])
        log.append(LogRecord(at, T0 + 15.0 * at, (Point("m", "a", T0 + 15.0 * at, value),)))
    of_rules = [rule(f"w{window}", aggregate=aggregate, window=window, when=when) for window in (15, 30, 45)]
    each_second = run(of_rules, log)
    assert len(each_second) > 10
    assert run(of_rules, log, sweeping=True) == each_second


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_overflowing_values_are_no_data_alike(aggregate: Aggregate) -> None:
    values = [1e308, -1e308, 1.7e308, 5.0, 20.0, 1.7e308, 1.7e308]
    log = [
        LogRecord(at, T0 + 7.0 * at, (Point("m", "a", T0 + 7.0 * at, values[at % 7]),)) for at in range(60)
    ]
    of_rules = [rule(aggregate=aggregate, window=20, when="> 2", lasting=3)]
    each_second = run(of_rules, log)
    assert each_second
    assert run(of_rules, log, sweeping=True) == each_second


# What is left out Hypothesis would make up.
_LEFT_OUT = {"history": st.just(0)}
STATES = st.one_of(
    st.just(State()),
    st.builds(
        State,
        phase=st.just("pending"),
        began=st.integers(T0 - 20, T0),
        held=st.integers(0, 5),
        samples=st.integers(0, 4),
        **_LEFT_OUT,
        cleared=st.none(),
        announced=st.just(0),
        silent=st.just(False),
    ),
    st.builds(
        State,
        phase=st.just("firing"),
        began=st.integers(T0 - 90, T0 - 70),
        samples=st.integers(1, 4),
        cleared=st.one_of(st.none(), st.integers(0, 4)),
        announced=st.integers(T0 - 70, T0),
        silent=st.booleans(),
        held=st.just(0),
        **_LEFT_OUT,
    ),
)
NO_DATA: Sequence[NoData] = ("hold", "ok", "breach")


@settings(max_examples=300, deadline=None)
@given(
    STATES,
    st.sampled_from(list(Verdict)),
    st.builds(
        Terms, st.integers(0, 12), st.integers(0, 6), st.integers(1, 4), no_data=st.sampled_from(NO_DATA)
    ),
)
def test_a_run_is_so_many_steps(state: State, verdict: Verdict, terms: Terms) -> None:
    first = T0 + 1
    event = next_event_in_run(terms, state, verdict, first)
    stepped = state
    for second in range(first, first + 150):
        done = step(terms, stepped, PhaseFinding(verdict, 0, 1), second)
        happens = done.reason is not None
        if second < event:
            assert not happens
            stepped = done.state
            assert after_run(terms, state, verdict, second - first + 1) == stepped
        else:
            assert happens
            return
    assert event == NEVER or event >= first + 150
