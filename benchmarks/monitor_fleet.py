"""Triggers, samples that breach, and the comparison with a backtest: what the torture of the monitor and
the tests of a lost broker share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet import events_on
from chassis.kafka import Kafka, Producer
from schemas.commands import FULL_SYSTEM
from schemas.metrics import Release, encode_release
from schemas.triggers import TriggerEvent
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.partition_log import read_memory
from services.monitor.adapters.topic_range import backtest_topic, topic_ends
from services.monitor.domain.compound.outcomes import CompoundOutcome
from services.monitor.domain.engine.outcomes import Outcome, rfc3339
from services.monitor.handlers.backtest import Backtested
from services.monitor.handlers.compound_backtest import backtest_compounds

COMPONENTS = tuple(f"component_{number:02d}" for number in range(20))
METRICS = tuple(f"metric_{number}_ms" for number in range(10))
TICK_S = 0.1
ALLOWED_LATENESS_S = 2.0
RULES = """\
triggers:
  - {name: slow, metric: metric_0_ms, when: "> 140", clear: "< 110", for: 3s, staleness: 10s, min_samples: 3}
  - {name: p95, metric: metric_1_ms, aggregate: p95, window: 8s, when: "> 150", for: 2s, keep_firing_for: 3s}
  - {name: average, metric: metric_2_ms, aggregate: avg, window: 7s, when: "> 120.5"}
  - {name: total, metric: metric_3_ms, aggregate: sum, window: 5s, when: ">= 9000", for: 2s, no_data: ok}
  - {name: silent, metric: metric_4_ms, staleness: 4s, when: "> 1000", for: 2s, no_data: breach}
  - {name: quorum, metric: metric_8_ms, staleness: 3s, when: "> 130", for: {breaching: 6, of: 10}}
  - {name: change, metric: metric_7_ms, aggregate: change, window: 10s, when: "> 40%"}
  - {name: rate, metric: metric_9_ms, aggregate: rate, window: 6s, when: "> 500"}
  - {name: ratio, ratio: {of: metric_5_ms, to: metric_6_ms}, aggregate: sum, window: 6s, when: "> 1.4"}
  - name: both
    all:
      - {metric: metric_0_ms, aggregate: avg, window: 4s, when: "> 120"}
      - {metric: metric_4_ms, aggregate: max, window: 5s, when: "> 120", clear: "< 90"}
    for: 1s
  - name: either
    any:
      - {metric: metric_4_ms, aggregate: min, window: 3s, when: "< 40"}
      - {metric: metric_9_ms, aggregate: stddev, window: 6s, when: "> 60"}
    no_data: ok
  - name: slower_than_before
    metric: metric_1_ms
    aggregate: p95
    window: 5s
    baseline: {aggregate: p50, window: 20s}
    when: "> 50%"
    only_within: 30s
  - name: ratio_above_before
    ratio: {of: metric_2_ms, to: metric_3_ms}
    aggregate: avg
    window: 5s
    baseline: {window: 20s}
    when: "> 30%"
    for: 2s
"""
COMPOUND_RULES = """\
compound_triggers:
  - {name: several_slow, at_least: 6 components, window: 6s, members: {triggers: [slow, p95]}}
  - {name: three_silent, at_least: 3 components, window: 10s, members: {triggers: [silent]}}
  - {name: releases_gone_wrong, at_least: 2 components, window: 5s, members: {triggers: [slower_than_before]}}
  - {name: together, at_least: 6 components, window: 1s}
"""
_RELEASES = 0.03
"""How probable it is that some component is released within a tick."""
_ROOM_S = 10.0


def configure(directory: Path, rules: str = RULES, compounds: str = "") -> Path:
    """A configuration directory with these triggers."""
    (directory / "rollback").mkdir(parents=True, exist_ok=True)
    (directory / "rollback" / "triggers.yml").write_text(rules)
    if compounds:
        (directory / "rollback" / "compound_triggers.yml").write_text(compounds)
    (directory / "targets.yml").write_text('default: "{component}"\n')
    return directory


class Load:
    """About ``rate`` samples a second until it is stopped: waves over the thresholds, late samples, gaps,
    releases; a quarter of the components send single samples, the others batches."""

    def __init__(self, kafka: Kafka, *, rate: int, seed: int) -> None:
        self._kafka = kafka
        self._chance = random.Random(seed)  # noqa: S311 - values, not secrets
        self._each = max(1, round(rate * TICK_S / (len(COMPONENTS) * len(METRICS))))
        self.samples = 0

    async def run(self, stop: asyncio.Event) -> None:
        async with self._kafka.producer(linger_ms=5) as producer:
            due = time.monotonic()
            while not stop.is_set():
                await self._tick(producer)
                due = max(due + TICK_S, time.monotonic() - 1.0)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.0, due - time.monotonic()))

    async def _tick(self, producer: Producer) -> None:
        topic, now = self._kafka.topic("metrics"), time.time()
        sent = [
            await producer.enqueue(topic, value, key=component.encode())
            for number, component in enumerate(COMPONENTS)
            for value in self._values(number, component, now)
        ]
        if self._chance.random() < _RELEASES:
            component = self._chance.choice(COMPONENTS)
            release = encode_release(Release(component, now))
            sent.append(await producer.enqueue(topic, release, key=component.encode()))
        await asyncio.gather(*sent)

    def _values(self, number: int, component: str, now: float) -> Iterator[bytes]:
        samples = []
        for index, metric in enumerate(METRICS):
            if index == 4 and (now + 7 * number) % 31 < 9:
                continue
            wave = 100 + 70 * math.sin((now + 3 * index) / 4 + number) + self._chance.choice((0, 0, 25))
            late = 3.5 if self._chance.random() < 0.03 else 0.0
            samples += [
                {"metric": metric, "value": round(wave + part, 2), "time": round(now - late, 3)}
                for part in range(self._each)
            ]
        self.samples += len(samples)
        if number % 4:
            yield json.dumps({"component": component, "samples": samples}).encode()
        else:
            yield from (json.dumps({**sample, "component": component}).encode() for sample in samples)


@dataclass(frozen=True, slots=True)
class Compared:
    """What was told live beside what a backtest over the same range of the log finds."""

    live: int
    expected: int
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    twice: int
    kinds: frozenset[str]
    triggers: frozenset[str]
    """Those of which something was to be told."""

    @property
    def problems(self) -> list[str]:
        """Empty if both are the same, each once."""
        found = [f"missing: {entry}" for entry in self.missing[:5]]
        found += [f"not in the backtest: {entry}" for entry in self.surplus[:5]]
        return found if self.expected else [*found, "the backtest finds nothing"]


async def compare(kafka: Kafka, directory: Path, *, allowed_lateness: float = ALLOWED_LATENESS_S) -> Compared:
    """Compare all that was told of metrics with a backtest up to the checkpoints."""
    return await compare_with(kafka, await backtested(kafka, directory, allowed_lateness=allowed_lateness))


async def compare_with(kafka: Kafka, found: Backtested) -> Compared:
    """Compare all that was told of metrics with what this backtest found."""
    events = [(name, data) for name, data in await told(kafka) if data.component != FULL_SYSTEM]
    return _compared(events, [outcome for outcome in found.outcomes if outcome.kind is not None])


async def compare_compounds(kafka: Kafka, directory: Path, found: Backtested, *, lateness: float) -> Compared:
    """Compare the transitions of compound triggers with those that follow from this backtest, up to where
    they are decided for sure: ``lateness`` before the last announcement, with some room."""
    events = await told(kafka)
    newest = max((data.at.timestamp() for _, data in events if data.component != FULL_SYSTEM), default=0.0)
    until = newest - lateness - _ROOM_S
    live = [
        (name, data)
        for name, data in events
        if data.component == FULL_SYSTEM and data.kind != "firing" and data.at.timestamp() <= until
    ]
    expected = backtest_compounds(load_config(directory).compounds, found)
    return _compared(live, [outcome for outcome in expected if outcome.at <= until])


async def backtested(
    kafka: Kafka, directory: Path, *, allowed_lateness: float = ALLOWED_LATENESS_S
) -> Backtested:
    """A backtest over the log up to the checkpoints."""
    begins = {number: begin for number, (begin, _) in (await topic_ends(kafka)).items()}
    ends = await checkpoints(kafka)
    return await backtest_topic(
        kafka,
        load_config(directory).rules,
        allowed_lateness=allowed_lateness,
        on_unread=lambda _place, _unread: None,
        ranges={number: (begins[number], end) for number, end in ends.items()},
    )


def _compared(
    events: Sequence[tuple[str, TriggerEvent]], outcomes: Sequence[Outcome | CompoundOutcome]
) -> Compared:
    expected = {
        f"{outcome.trigger_id}/{outcome.kind}/{rfc3339(outcome.at)}": (
            outcome.reason,
            outcome.value,
            outcome.why,
        )
        for outcome in outcomes
    }
    live = {event_id: (data.reason, data.value, data.why) for event_id, data in events}
    same = {name for name in live.keys() & expected.keys() if live[name] == expected[name]}
    return Compared(
        live=len(live),
        expected=len(expected),
        missing=tuple(sorted(f"{name} {expected[name]}" for name in expected.keys() - same)),
        surplus=tuple(sorted(f"{name} {live[name]}" for name in live.keys() - same)),
        twice=len(events) - len(live),
        kinds=frozenset(data.kind for _, data in events),
        triggers=frozenset(outcome.rule.name for outcome in outcomes),
    )


async def told(kafka: Kafka) -> list[tuple[str, TriggerEvent]]:
    """Every trigger event with its id, in the order of the log."""
    events = await events_on(kafka, "triggers")
    return [(event.id, event.data) for event in events if isinstance(event.data, TriggerEvent)]


async def checkpoints(kafka: Kafka) -> dict[int, int]:
    """The next offset of each partition that has a checkpoint."""
    found = {}
    for number in await topic_ends(kafka):
        checkpoint = (await read_memory(kafka, number)).checkpoint
        if checkpoint is not None:
            found[number] = checkpoint.next_offset
    return found


async def caught_up(kafka: Kafka, *, timeout_s: float) -> bool:
    """Wait until all that is in the log now is decided; False if it is not in time."""
    ends = {number: end for number, (begin, end) in (await topic_ends(kafka)).items() if end > begin}
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        done = await checkpoints(kafka)
        if all(done.get(number, 0) >= end for number, end in ends.items()):
            return True
        await asyncio.sleep(0.2)
    return False
