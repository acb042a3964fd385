"""Breakers against docs/breakers.md, as ``breaker_oracle`` has written it down again, over all kinds of logs.

Portions, restarts, and a restart under another file at any place of the log are part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.monitor.domain.breakers.breaker import CHECKS, BreakerTerms, CheckName, Fallback
from services.monitor.domain.breakers.breaker_plan import BreakerPlan, BreakerPlans, Check
from services.monitor.domain.breakers.breakers import Decision, Removal
from services.monitor.domain.language.aggregates import Aggregate
from tests.unit.monitor.breaker_log import Owner
from tests.unit.monitor.breaker_oracle import BreakerOracle, CheckText, FileText, Limit, PlanText
from tests.unit.monitor.engine_log import T0, rule, stored
from tests.unit.monitor.reference import LogRecord, Point

AGGREGATES: Sequence[Aggregate] = ("last", "last", "last", "max", "min", "sum", "count")
EVERY = frozenset[str](CHECKS)
PLENTY = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
VALUES = st.sampled_from([0.0, 1.0, 9.5, 9.8, 10.0, 10.5, 20.0, 20.0])


@st.composite
def checks(draw: st.DrawFn, *, own: bool = False) -> CheckText:
    upward, aggregate = draw(st.booleans()), draw(st.sampled_from(AGGREGATES))
    low, high = (1.0, 2.0) if aggregate == "count" else (9.5, 10.0)
    when: Limit = (">", high) if upward else ("<=", low)
    clear: Limit = ("<", high - 1) if upward else (">", low + 1)
    return CheckText(
        metric=draw(st.sampled_from("mn")),
        aggregate=aggregate,
        window=draw(st.sampled_from([1, 3, 8, 30])),
        when=when,
        clear=draw(st.sampled_from([None, None, clear])),
        lasting=draw(st.sampled_from([0, 0, 2, 5])),
        min_samples=draw(st.sampled_from([1, 1, 2, 3])),
        silence_fails=draw(st.sampled_from([False, False, True])),
        own=own,
    )


FALLBACKS = st.lists(
    st.tuples(st.sampled_from("abc"), st.frozensets(st.sampled_from(sorted(EVERY)), min_size=1)), max_size=2
)


@st.composite
def common_parts(draw: st.DrawFn) -> PlanText:
    names = draw(st.lists(st.sampled_from(CHECKS), min_size=1, max_size=3, unique=True))
    within, open_for = draw(st.sampled_from([1, 20])), draw(st.sampled_from([1, 3, 10]))
    return PlanText(
        checks={name: draw(checks()) for name in names},
        fallbacks=[*draw(FALLBACKS), ("reject", EVERY)],
        open_for=open_for,
        probe_for=draw(st.sampled_from([1, 3, 8])),
        within=within,
        at_most=max(open_for, draw(st.sampled_from([1, 10, 40]))),
        quiet_for=within + draw(st.sampled_from([1, 60])),
    )


@st.composite
def files(draw: st.DrawFn, common: PlanText | None = None) -> FileText:
    """A component may have nothing of its own, no breaker, another check, fewer, or other times."""
    common = common or draw(common_parts())
    components: dict[str, PlanText | None] = {}
    for component in "ab":
        match draw(st.sampled_from(["nothing", "nothing", "none", "check", "fewer", "times"])):
            case "none":
                components[component] = None
            case "check":
                name = draw(st.sampled_from(CHECKS))
                components[component] = replace(
                    common, checks={**common.checks, name: draw(checks(own=True))}
                )
            case "fewer" if len(common.checks) > 1:
                components[component] = replace(common, checks=dict(list(common.checks.items())[1:]))
            case "times":
                others = [*draw(FALLBACKS), ("other", EVERY)]
                open_for, probe_for = draw(st.sampled_from([1, 3, 10])), draw(st.sampled_from([1, 3, 8]))
                components[component] = replace(
                    common, open_for=open_for, probe_for=probe_for, at_most=40, fallbacks=others
                )
    return FileText(common, components)


@st.composite
def logs(draw: st.DrawFn) -> list[LogRecord]:
    """Values that stay for a while, gaps, late samples, batches and clock records."""
    now, records, standing = float(T0), list[LogRecord](), dict[tuple[str, str], float]()
    for offset in range(draw(st.integers(1, 45))):
        now += draw(st.sampled_from([0.0, 0.25, 1.0, 1.0, 1.0, 1.0, 2.0, 5.0, 12.0, 60.0]))
        append, count = (
            now + draw(st.sampled_from([0.0, 0.0, 0.5])),
            draw(st.sampled_from([0, 1, 1, 1, 1, 3])),
        )
        points = []
        for _ in range(count):
            behind = draw(st.sampled_from([0.0] * 8 + [0.25, 2.0, 6.0]))
            series = draw(st.sampled_from("mmn")), draw(st.sampled_from("aab"))
            if series not in standing or draw(st.sampled_from([True, False, False])):
                standing[series] = draw(VALUES)
            points.append(Point(*series, now - behind, standing[series]))
        records.append(LogRecord(offset, append, tuple(points), clock=None if points else now))
    return records


def read(file: FileText) -> BreakerPlans:
    common = _plan(file.common, None)
    own = {name: None if plan is None else _plan(plan, name) for name, plan in file.components.items()}
    return BreakerPlans(common, own)


def _plan(text: PlanText, component: str | None) -> BreakerPlan:
    terms = BreakerTerms(text.open_for, text.probe_for, 0.5, text.within, text.at_most, text.quiet_for)
    fallbacks = tuple(Fallback(use, cast("frozenset[CheckName]", on)) for use, on in text.fallbacks)
    checks = {
        cast("CheckName", name): _check(cast("CheckName", name), check, component)
        for name, check in text.checks.items()
    }
    return BreakerPlan(terms, checks, fallbacks)


def _check(name: CheckName, text: CheckText, component: str | None) -> Check:
    made = rule(
        metric=text.metric,
        aggregate=cast("Aggregate", text.aggregate),
        window=text.window,
        when=_limit(text.when),
        clear=None if text.clear is None else _limit(text.clear),
        lasting=text.lasting,
        min_samples=text.min_samples,
        no_data="breach" if text.silence_fails else "hold",
    )
    return Check.of(name, made, component if text.own else None)


def _limit(limit: Limit) -> str:
    return f"{limit[0]} {limit[1]:g}"


def shown(told: Decision | Removal) -> tuple[Any, ...]:
    """As the oracle tells it."""
    if isinstance(told, Removal):
        return told.component, "removed"
    breaker = told.breaker
    failed = tuple(sorted((each.check, each.value, each.since) for each in breaker.failures))
    times = breaker.since, breaker.until, breaker.doublings
    return told.component, told.at, breaker.state, told.reason, breaker.fallback, *times, failed


@PLENTY
@given(st.data())
def test_every_decision_is_the_one_that_the_text_says(data: st.DataObject) -> None:
    log, file = data.draw(logs()), data.draw(files())
    lateness = data.draw(st.sampled_from([0.0, 2.0]))
    restarts = sorted(data.draw(st.sets(st.integers(1, len(log)), max_size=3)))
    oracle, owner = BreakerOracle(file, lateness), Owner(read(file), lateness=lateness)
    records, taken = [stored(record) for record in log], 0
    for upto in (*restarts, None):
        oracle.feed(log[taken:upto])
        owner.take(records[taken:upto])
        if upto is not None:
            taken = upto
            other = data.draw(st.one_of(st.none(), files(common=file.common), files()))
            if other is not None:
                oracle.change(other)
            owner.restart(records, upto, None if other is None else read(other))
    assert sorted(map(repr, map(shown, owner.told))) == sorted(map(repr, oracle.told))
