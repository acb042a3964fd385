"""Kill the monitors at any instant, under load, while instances come and go.

Three instances share the partitions. At random moments one of them gets a ``kill -9`` (it is
started again at once, or stays away for long enough that the group gives its partitions to the
others) or leaves in good order and comes back. At the end what was told is held against a backtest
over the run's own range of the log: nothing may be missing, nothing else may be there.

Exit status: 0 if both are the same.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fleet import Fleet, kafka_of, report_torture
from benchmarks.load import CACHE_DIR
from benchmarks.monitor_fleet import (
    COMPOUND_RULES,
    RULES,
    Compared,
    Load,
    backtested,
    caught_up,
    compare_compounds,
    compare_with,
    configure,
)
from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.process_group import ProcessGroup
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings

KILLS = 200
SPACING_S = 2.3
RATE = 4_000
INSTANCES = ("one", "two", "three")
# A member that stays away for longer than this loses its partitions to the others.
SESSION_TIMEOUT_MS = 3_000
COMPOUND_LATENESS_S = 60.0
"""Nobody is away for so long: what compound triggers are told of comes in time, and they decide as a
backtest does."""
VARIABLES = {"BACKOUT_MONITOR__COMPOUND_LATENESS_S": f"{COMPOUND_LATENESS_S:g}"}
_AWAY_S = (0.5, 8.0)
_LEAVES = 0.2
_STAYS_AWAY = 0.3
_CATCH_UP_S = 120.0
_READY_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done to whom: ``spacing_s`` is the mean time between two disturbances."""

    kills: int = KILLS
    instances: tuple[str, ...] = INSTANCES
    spacing_s: float = SPACING_S
    rate: int = RATE
    seed: int = 0


@dataclass
class Outcome:
    """What was done, and how it ended. ``moments`` are how long a killed process had lived, s."""

    seconds: float = 0.0
    kills: int = 0
    leaves: int = 0
    samples: int = 0
    moments: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    compared: Compared | None = None
    compounds: Compared | None = None

    def __str__(self) -> str:
        told = "".join(
            f"{found.live} events of {len(found.triggers)} {what} told, {found.expected} expected, "
            f"{len(found.missing)} missing, {len(found.surplus)} others, {found.twice} twice; "
            for what, found in (("triggers", self.compared), ("compound triggers", self.compounds))
            if found is not None
        )
        grown = sum(moment > 4.0 for moment in self.moments)
        return (
            f"{self.kills} kills ({grown} of them after the first four seconds of a process), "
            f"{self.leaves} orderly leaves, {self.samples} samples in {self.seconds:.0f} s: {told}"
            f"{'right' if not self.problems else 'WRONG'}"
        )


async def storm(kafka: Kafka, fleet: Fleet, plan: Plan) -> Outcome:
    """Play the plan on topics that exist; at its end no instance runs."""
    outcome, stop = Outcome(), asyncio.Event()
    load = Load(kafka, rate=plan.rate, seed=plan.seed)
    began = time.monotonic()
    loading = asyncio.create_task(load.run(stop))
    try:
        for instance in plan.instances:
            fleet.start(instance)
        await _first_ready(fleet)
        await _disturb(fleet, plan, outcome)
    finally:
        stop.set()
        await loading
    outcome.samples = load.samples
    if not await caught_up(kafka, timeout_s=_CATCH_UP_S):
        outcome.problems.append(f"not caught up within {_CATCH_UP_S:g} s\n{fleet.log_tail()}")
    outcome.problems += [f"{name} ended with status {status}" for name, status in fleet.died().items()]
    for instance in list(fleet.running):
        if await fleet.stop(instance) != 0:
            outcome.problems.append(f"{instance} did not stop in good order")
    found = await backtested(kafka, fleet.directory)
    outcome.compared = await compare_with(kafka, found)
    outcome.problems += outcome.compared.problems
    # A short storm is over before any of these are decided.
    outcome.compounds = await compare_compounds(kafka, fleet.directory, found, lateness=COMPOUND_LATENESS_S)
    if outcome.compounds.live or outcome.compounds.expected:
        outcome.problems += outcome.compounds.problems
    outcome.seconds = time.monotonic() - began
    return outcome


async def _first_ready(fleet: Fleet) -> None:
    """The storm begins over partitions that somebody has."""
    deadline = time.monotonic() + _READY_S
    while not any(fleet.is_ready(instance) for instance in fleet.running):
        if time.monotonic() > deadline:
            raise RuntimeError(f"no monitor is ready\n{fleet.log_tail()}")
        await asyncio.sleep(0.1)


async def _disturb(fleet: Fleet, plan: Plan, outcome: Outcome) -> None:
    chance = random.Random(plan.seed)  # noqa: S311 - moments, not secrets
    born = dict.fromkeys(fleet.running, time.monotonic())
    away: dict[str, float] = {}
    while outcome.kills < plan.kills:
        await asyncio.sleep(chance.uniform(0.2, 1.8) * plan.spacing_s)
        for instance in [name for name, back_at in away.items() if time.monotonic() >= back_at]:
            del away[instance]
            fleet.start(instance)
            born[instance] = time.monotonic()
        outcome.problems += [f"{name} ended with status {status}" for name, status in fleet.died().items()]
        if outcome.problems:
            outcome.problems.append(fleet.log_tail())
            break
        if not fleet.running:
            continue
        victim = chance.choice(sorted(fleet.running))
        if chance.random() < _LEAVES:
            await fleet.stop(victim)
            outcome.leaves += 1
            away[victim] = time.monotonic() + chance.uniform(*_AWAY_S)
            continue
        fleet.kill(victim)
        outcome.kills += 1
        outcome.moments.append(time.monotonic() - born[victim])
        away[victim] = time.monotonic() + (chance.uniform(*_AWAY_S) if chance.random() < _STAYS_AWAY else 0.0)
        if outcome.kills % 20 == 0:
            print(f"{outcome.kills} kills", flush=True)
    for instance in away:
        fleet.start(instance)


def main() -> int:
    options = _parse()
    plan = Plan(kills=options.kills, spacing_s=options.spacing, rate=options.rate, seed=options.seed)
    return report_torture("the monitors", options.seed, lambda directory: _play(directory, plan))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture_monitor", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="default: %(default)s")
    parser.add_argument(
        "--spacing", type=float, default=SPACING_S, help="mean seconds in between: %(default)s"
    )
    parser.add_argument("--rate", type=int, default=RATE, help="samples a second: %(default)s")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    return parser.parse_args()


async def _play(directory: Path, plan: Plan) -> Outcome:
    with ProcessGroup(directory) as group:
        async with EmbeddedKafka(directory / "kafka", cache_dir=CACHE_DIR, group=group) as broker:
            settings = KafkaSettings(
                bootstrap_servers=broker.bootstrap_servers,
                namespace=f"storm{secrets.token_hex(3)}.",
                session_timeout_ms=SESSION_TIMEOUT_MS,
            )
            kafka = kafka_of(settings)
            await ensure_topics(kafka)
            config = configure(directory / "config", RULES, COMPOUND_RULES)
            return await storm(kafka, Fleet(group, settings, config, VARIABLES), plan)


if __name__ == "__main__":
    sys.exit(main())
