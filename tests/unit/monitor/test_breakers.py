"""Breakers over whole logs: what the checks of the engine make of them, whatever the portions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.breakers.breaker import Breaker, BreakerTerms, CheckName, Failure
from services.monitor.domain.breakers.breaker_memory import RememberedBreaker
from services.monitor.domain.breakers.breaker_plan import BreakerPlan, BreakerPlans, Check, feeds_breaker
from services.monitor.domain.breakers.breakers import Breakers, Decision, Removal
from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.phases import NoData
from services.monitor.domain.language.rules import Rule
from tests.unit.monitor.breaker_log import FALLBACKS, TERMS, Owner, decide, plans
from tests.unit.monitor.engine_log import T0, rule, stored
from tests.unit.monitor.reference import LogRecord, Point
from tests.unit.monitor.test_engine_properties import AGGREGATES, logs

SLOW: dict[CheckName, Rule] = {"response_time": rule(metric="ms", when="> 10", window=5, lasting=3)}


def series(
    values: Callable[[int], float | None],
    seconds: int,
    *,
    metric: str = "ms",
    component: str = "c",
    offset: int = 0,
) -> list[LogRecord]:
    """One sample a second (None: none), and a clock record where there is none."""
    records = []
    for second in range(seconds):
        at, value = float(T0 + second), values(second)
        if value is None:
            records.append(LogRecord(offset + second, at, clock=at))
        else:
            records.append(LogRecord(offset + second, at, (Point(metric, component, at, value),)))
    return records


def told(decisions: Sequence[Decision | Removal]) -> list[tuple[int, str, str]]:
    return [
        (each.at - T0, each.breaker.state, each.reason) for each in decisions if isinstance(each, Decision)
    ]


def test_a_breach_opens_and_good_data_closes() -> None:
    log = series(lambda second: 50.0 if 10 <= second < 20 else 1.0, 60)
    assert told(decide(plans(SLOW), log)) == [
        (0, "closed", "first_seen"),
        (13, "open", "check_failed"),
        (33, "half_open", "open_long_enough"),
        (43, "closed", "clear_long_enough"),
    ]


def test_the_decision_carries_its_reasons() -> None:
    log = series(lambda second: 50.0 if second >= 10 else 1.0, 14)
    opened = decide(plans(SLOW), log)[-1]
    assert isinstance(opened, Decision)
    (failure,) = opened.breaker.failures
    assert (failure.check, failure.value, failure.threshold, failure.since) == (
        "response_time", 50.0, 10.0, T0 + 10
    )  # fmt: skip
    assert opened.breaker.fallback == "cached"
    assert opened.why == "response_time: ms was 50 (> 10 for 3s) since 00:00:10 UTC. Open for 20s"


def test_silence_neither_opens_nor_closes() -> None:
    """Breaching, then nothing at all: it opens, probes, and probes on for as long as it is silent."""
    log = series(lambda second: (50.0 if second >= 10 else 1.0) if second < 15 else None, 2000)
    assert told(decide(plans(SLOW), log))[-1] == (33, "half_open", "open_long_enough")
    quiet = series(lambda second: 1.0 if second < 5 else None, 2000)
    assert told(decide(plans(SLOW), quiet)) == [(0, "closed", "first_seen")]


def test_a_gap_in_the_data_begins_the_count_of_clear_seconds_anew() -> None:
    def values(second: int) -> float | None:
        if second < 14:
            return 50.0 if second >= 10 else 1.0
        return None if 14 <= second < 35 or 40 <= second < 50 else 1.0

    states = told(decide(plans(SLOW), series(values, 90)))
    assert states[-2:] == [(33, "half_open", "open_long_enough"), (60, "closed", "clear_long_enough")]


def test_silence_is_a_failure_where_it_is_configured() -> None:
    checks: dict[CheckName, Rule] = {"consensus": replace(SLOW["response_time"], terms=replace(
        SLOW["response_time"].terms, no_data="breach"))}  # fmt: skip
    log = series(lambda second: 1.0 if second < 10 else None, 40)
    opened = decide(plans(checks), log)[1]
    assert isinstance(opened, Decision)
    assert told([opened]) == [(17, "open", "check_failed")]
    assert opened.breaker.failures[0].value is None
    assert opened.breaker.fallback == "single_node"


def test_between_the_limits_is_not_clear() -> None:
    checks: dict[CheckName, Rule] = {
        "response_time": rule(metric="ms", when="> 10", clear="< 5", window=5, lasting=3)
    }

    def values(second: int) -> float:
        return 50.0 if 10 <= second < 20 else 7.0 if 25 <= second < 100 else 1.0

    states = told(decide(plans(checks), series(values, 120)))
    assert (33, "half_open", "open_long_enough") in states
    assert states[-1] == (110, "closed", "clear_long_enough")


def test_components_do_not_touch_each_other() -> None:
    log = series(lambda second: 50.0 if second >= 10 else 1.0, 30)
    other = series(lambda _second: 1.0, 30, component="d")
    both = [record for pair in zip(log, other, strict=True) for record in pair]
    log = [replace(record, offset=number) for number, record in enumerate(both)]
    decisions = [each for each in decide(plans(SLOW), log) if isinstance(each, Decision)]
    assert {each.component for each in decisions if each.breaker.state == "open"} == {"c"}


def test_a_component_without_a_breaker_has_none() -> None:
    of = plans(SLOW)
    log = series(lambda _second: 50.0, 30)
    assert decide(BreakerPlans(of.default, {"c": None}), log) == []


def test_no_check_is_a_trigger() -> None:
    assert all(feeds_breaker(each) for each in plans(SLOW).rules)
    assert not feeds_breaker(rule("breaker"))


class TestAChangedConfiguration:
    """A restart under other settings keeps what is still true."""

    LOG = tuple(stored(record) for record in series(lambda second: 50.0 if second >= 10 else 1.0, 15))
    LATER = tuple(stored(record) for record in series(lambda _second: 1.0, 80)[15:])

    def _opened(self) -> Owner:
        owner = Owner(plans(SLOW))
        owner.take(self.LOG)
        assert told(owner.told)[-1] == (13, "open", "check_failed")
        owner.told.clear()
        return owner

    def test_the_same_settings_say_nothing(self) -> None:
        owner = self._opened()
        owner.restart(self.LOG, len(self.LOG))
        assert owner.told == []
        owner.take(self.LATER)
        assert told(owner.told) == [
            (33, "half_open", "open_long_enough"),
            (43, "closed", "clear_long_enough"),
        ]

    def test_other_fallbacks_are_told(self) -> None:
        owner = self._opened()
        of = owner.plans
        assert of.default is not None
        owner.restart(
            self.LOG, len(self.LOG), BreakerPlans(replace(of.default, fallbacks=of.default.fallbacks[2:]))
        )
        (decision,) = owner.told
        assert isinstance(decision, Decision)
        assert (decision.reason, decision.breaker.state) == ("settings_changed", "open")
        assert decision.breaker.fallback == "reject"

    def test_another_definition_of_the_check_starts_it_anew(self) -> None:
        owner = self._opened()
        other: dict[CheckName, Rule] = {"response_time": replace(SLOW["response_time"], window=7)}
        owner.restart(self.LOG, len(self.LOG), plans(other))
        owner.take(self.LATER)
        assert told(owner.told)[-1] == (43, "closed", "clear_long_enough")

    def test_a_breaker_that_is_no_more_is_removed(self) -> None:
        owner = self._opened()
        owner.restart(self.LOG, len(self.LOG), BreakerPlans(owner.plans.default, {"c": None}))
        assert owner.told == [Removal("c")]
        assert owner.breakers.changes() == {b"breaker/c": None}


class TestAComponentsOwnPart:
    """What the engine found for a component whose breaker did not look at it counts for nothing."""

    COMMON = Check.of("response_time", SLOW["response_time"], None)
    LENIENT = Check.of("response_time", replace(SLOW["response_time"], when=Condition(">", 40.0)), "c")
    PLAN = BreakerPlan(TERMS, {"response_time": COMMON}, FALLBACKS)
    SHIPPED = BreakerPlans(PLAN)
    OWN = BreakerPlans(PLAN, {"c": replace(PLAN, checks={"response_time": LENIENT})})
    NONE = BreakerPlans(PLAN, {"c": None})

    def _after(
        self, before: BreakerPlans, then: BreakerPlans, values: Callable[[int], float], at: int
    ) -> Sequence[tuple[int, str, str]]:
        log = [stored(record) for record in series(values, 100)]
        owner = Owner(before)
        owner.take(log[:at])
        owner.restart(log, at, then)
        owner.restart(log, at)
        owner.told.clear()
        owner.take(log[at:])
        return told(owner.told)

    @pytest.mark.parametrize("before", [OWN, NONE])
    def test_a_check_that_is_taken_up_while_it_fails_opens_the_breaker(self, before: BreakerPlans) -> None:
        decided = self._after(before, self.SHIPPED, lambda _second: 20.0, 60)
        assert (63, "open", "check_failed") in decided

    def test_a_check_that_is_taken_up_while_it_is_clear_closes_the_breaker(self) -> None:
        decided = self._after(self.OWN, self.SHIPPED, lambda second: 50.0 if 10 <= second < 15 else 1.0, 30)
        assert decided == [(33, "half_open", "open_long_enough"), (43, "closed", "clear_long_enough")]

    def test_a_breaker_whose_failed_check_is_dropped_says_so_and_closes(self) -> None:
        other: dict[CheckName, Rule] = {"consensus": rule(metric="share", when="> 1", window=5)}
        both = plans({**SLOW, **other})
        log = [stored(record) for record in series(lambda second: 50.0 if second >= 10 else 1.0, 60)]
        owner = Owner(both)
        owner.take(log[:15])
        owner.told.clear()
        owner.restart(log, 15, plans(other))
        (decision,) = owner.told
        assert isinstance(decision, Decision)
        assert (decision.reason, decision.breaker.failures) == ("settings_changed", ())
        probing, closed = (each for each in owner.take(log[15:]) if isinstance(each, Decision))
        assert probing.why == "open since 00:00:13 UTC; now probing (no check that failed is left)"
        assert closed.reason == "clear_long_enough"

    def test_a_shorter_time_decides_nothing_about_the_past(self) -> None:
        log = [stored(record) for record in series(lambda second: 50.0 if 10 <= second < 15 else 1.0, 60)]
        owner = Owner(self.SHIPPED)
        owner.take(log[:41])
        owner.told.clear()
        hasty = replace(self.PLAN, terms=replace(TERMS, probe_for=1))
        owner.restart(log, 41, BreakerPlans(hasty))
        owner.take(log[41:])
        assert told(owner.told) == [
            (40, "half_open", "settings_changed"),
            (41, "closed", "clear_long_enough"),
        ]


def test_thousands_that_are_due_at_one_second_are_moved_in_no_time() -> None:
    """The work is as much as there are breakers, not as their square: of 8,000 that takes a minute."""
    of = plans(SLOW)
    assert of.default is not None
    failure = Failure("response_time", "ms", "> 10", 10.0, 20.0, 90, 100)
    opened = Breaker("open", 100, 120, 100, fallback="cached", failures=(failure,))
    breakers = Breakers(of)
    breakers.recall((RememberedBreaker.of(f"c{n}", of.default, opened) for n in range(8_000)), 100)
    began = time.process_time()
    assert breakers.advance((), 119) == []
    decisions = breakers.advance((), 120)
    assert time.process_time() - began < 10
    assert [each.component for each in decisions] == sorted(f"c{n}" for n in range(8_000))


CHECKS_OF: Sequence[CheckName] = ("response_time", "error_rate", "accuracy", "consensus")
NO_DATA: Sequence[NoData] = ("hold", "breach")


@st.composite
def any_plans(draw: st.DrawFn) -> BreakerPlans:
    checks: dict[CheckName, Rule] = {}
    for name in draw(st.lists(st.sampled_from(CHECKS_OF), min_size=1, max_size=3, unique=True)):
        upward = draw(st.booleans())
        aggregate: Aggregate = draw(st.sampled_from(AGGREGATES))
        checks[name] = rule(
            metric=draw(st.sampled_from(["m", "n"])),
            aggregate=aggregate,
            window=draw(st.sampled_from([5, 30] if aggregate == "change" else [1, 3, 30])),
            when="> 10" if upward else "<= 9.5",
            clear=draw(st.sampled_from([None, "< 10" if upward else "> 10"])),
            lasting=draw(st.sampled_from([0, 0, 2])),
            min_samples=draw(st.sampled_from([1, 1, 2])),
            no_data=draw(st.sampled_from(NO_DATA)),
        )
    terms = BreakerTerms(
        open_for=draw(st.sampled_from([1, 2, 10])),
        probe_for=draw(st.sampled_from([1, 2, 5])),
        probe_share=0.5,
        flap_within=draw(st.sampled_from([1, 20])),
        open_at_most=draw(st.sampled_from([10, 30])),
        quiet_for=60,
    )
    return plans(checks, terms)


PLENTY = settings(max_examples=70, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CUTS = st.lists(st.integers(1, 24), max_size=24)
LATENESS = st.sampled_from([0.0, 2.0])


@PLENTY
@given(any_plans(), logs(), LATENESS, CUTS)
def test_portions_and_restarts_change_no_decision(
    of: BreakerPlans, log: list[LogRecord], lateness: float, cuts: list[int]
) -> None:
    whole = decide(of, log, lateness=lateness)
    assert decide(of, log, lateness=lateness, portions=cuts) == whole
    assert decide(of, log, lateness=lateness, portions=cuts, restarts=True) == whole


@PLENTY
@given(any_plans(), logs(), LATENESS)
def test_what_is_decided_is_in_order_and_follows_on(
    of: BreakerPlans, log: list[LogRecord], lateness: float
) -> None:
    last: dict[str, Decision] = {}
    for decision in decide(of, log, lateness=lateness):
        assert isinstance(decision, Decision)
        before = last.get(decision.component)
        if before is not None:
            assert decision.at > before.at
            assert decision.before == before.breaker.state
        if decision.breaker.state == "closed":
            assert decision.breaker.fallback is None
        else:
            assert decision.breaker.fallback is not None
        last[decision.component] = decision


def test_a_flapping_check_is_damped() -> None:
    """Bad for 5 s in every 40 s: without damping it would open in each of these 30 periods."""
    log = series(lambda second: 50.0 if second % 40 in range(5, 10) else 1.0, 1200)
    decisions = [each for each in decide(plans(SLOW), log) if isinstance(each, Decision)]
    lengths = [each.breaker.until - each.at for each in decisions if each.breaker.until is not None]
    assert lengths[:3] == [20, 40, 70]
    assert set(lengths[3:]) == {70}
    assert len(lengths) < 1200 // 40 * 2 // 3
