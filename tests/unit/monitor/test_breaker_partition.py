"""What a partition writes of its breakers: decisions apart from triggers, and signs of life that are true."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prometheus_client import CollectorRegistry, generate_latest

from chassis.clock import ManualClock
from services.monitor.adapters.breaker_events import decision_event
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.domain.breakers.breaker import Breaker, BreakerReason
from services.monitor.domain.breakers.breaker_memory import read_breaker
from services.monitor.domain.breakers.breaker_plan import NO_BREAKERS, BreakerPlans
from services.monitor.domain.breakers.breakers import Breakers, Decision
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.handlers.partition import ALIVE_EVERY_S, Partition
from tests.unit.monitor.breaker_log import Owner, plans
from tests.unit.monitor.engine_log import T0, rule, stored
from tests.unit.monitor.test_breakers import series
from tests.unit.monitor.test_partition import Fetched, Kept

PLANS = plans({"response_time": rule(metric="m", window=5, lasting=1)})


def _sample(offset: int, at: int, value: float) -> Fetched:
    text = b'{"metric":"m","component":"c","value":%f,"time":%d}' % (value, T0 + at)
    return Fetched(offset, text, timestamp=(T0 + at) * 1000)


class _Stage:
    def __init__(self, of: BreakerPlans, breakers: Breakers | None = None) -> None:
        self.log = Kept()
        self.clock = ManualClock(datetime.fromtimestamp(T0, UTC))
        self.registry = CollectorRegistry()
        rules = (rule("slow", metric="m", window=5, lasting=1), *of.rules)
        self.partition = Partition(
            0,
            PartitionEngine(rules, allowed_lateness=0.0),
            self.log,
            MonitorMetrics(self.registry),
            next_offset=0,
            partitions=1,
            breakers=breakers or Breakers(of),
            clock=self.clock,
        )
        self.offset = 0

    async def second(self, at: int, value: float, *, later: float = 0.0) -> None:
        self.clock.advance(timedelta(seconds=later))
        self.partition.take([_sample(self.offset, at, value)])
        self.offset += 1
        await self.partition.finish()

    @property
    def signs_of_life(self) -> list[int]:
        return [each.alive_through - T0 for each in self.log.decided if each.alive_through is not None]


async def test_decisions_go_apart_from_triggers_with_their_state() -> None:
    stage = _Stage(PLANS)
    for at in range(3):
        await stage.second(at, 50.0, later=1.0)
    written = stage.log.decided
    assert {outcome.rule.name for each in written for outcome in each.outcomes} == {"slow"}
    decisions = [decision for each in written for decision in each.breakers]
    assert [each.breaker.state for each in decisions if isinstance(each, Decision)] == ["closed", "open"]
    with_decision = next(each for each in written if len(each.breakers) and each.breakers[0] is decisions[1])
    assert b"breaker/c" in with_decision.states
    metrics = generate_latest(stage.registry).decode()
    assert 'backout_monitor_breakers{partition="0",state="open"} 1.0' in metrics
    assert 'backout_monitor_breaker_decisions_total{reason="check_failed",state="open"} 1.0' in metrics
    assert 'backout_monitor_triggers{partition="0",phase="firing"} 1.0' in metrics


async def test_breakers_that_were_taken_over_are_shown_before_anything_is_decided_about_them() -> None:
    owner = Owner(PLANS)
    owner.take([stored(record) for record in series(lambda _second: 50.0, 5, metric="m")])
    memories = [read_breaker(value) for key, value in owner.breakers.changes().items() if value is not None]
    breakers = Breakers(PLANS)
    assert breakers.recall(memories, T0 + 4) == []
    stage = _Stage(PLANS, breakers)
    await stage.second(0, 1.0)
    metrics = generate_latest(stage.registry).decode()
    assert 'backout_monitor_breakers{partition="0",state="open"} 1.0' in metrics


def test_what_changed_settings_tell_has_an_id_of_its_own() -> None:
    opened = Breaker("open", T0, T0 + 20, T0, fallback="cached")
    reasons: tuple[BreakerReason, ...] = ("check_failed", "settings_changed")
    decisions = [Decision(T0, "c", "open", opened, reason, 0.1) for reason in reasons]
    now = datetime.fromtimestamp(T0, UTC)
    assert [decision_event(each, 0, now).id for each in decisions] == [
        "breaker:c/open/2026-01-01T00:00:00Z",
        "breaker:c/open/2026-01-01T00:00:00Z/settings_changed",
    ]


async def test_a_sign_of_life_only_while_time_moves_and_not_too_often() -> None:
    stage = _Stage(PLANS)
    await stage.second(0, 1.0)
    await stage.second(1, 1.0, later=ALIVE_EVERY_S - 1)
    await stage.second(2, 1.0, later=1)
    await stage.second(2, 1.0, later=ALIVE_EVERY_S)
    await stage.second(3, 1.0)
    assert stage.signs_of_life == [0, 2, 3]


async def test_without_breakers_there_is_nothing_to_be_alive_for() -> None:
    stage = _Stage(NO_BREAKERS)
    await stage.second(0, 1.0)
    assert stage.signs_of_life == []
