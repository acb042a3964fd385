"""Partitions whose leadership moves to another broker while the monitor evaluates them under load.

Three brokers have every topic. Again and again the one that leads a partition of the metrics topic is lost
(killed, or stopped in good order) and comes back. The monitor is the same process throughout. At the end all
that was told is what a backtest over the log finds, each once; a trigger that was firing on a partition
without a leader was told to be without data, and never to be resolved by that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fleet import Fleet, kafka_of
from benchmarks.kafka_cluster import KafkaCluster
from benchmarks.load import CACHE_DIR
from benchmarks.monitor_fleet import RULES, Compared, Load, caught_up, compare, configure, told
from chassis.embedded.process_group import ProcessGroup
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings

INSTANCE = "one"
# The first breaches as long as there are samples.
ALL_RULES = f"""{RULES}\
  - {{name: always, metric: metric_5_ms, when: "> 0", staleness: 1s}}
"""
LOSSES = ("killed", "stopped")
_READY_S = 60.0
_CATCH_UP_S = 120.0
_SETTLED_S = 2.0


@dataclass
class Outcome:
    """``moved_after_s``: of each loss, how many seconds later every partition had another leader."""

    moved_after_s: list[float] = field(default_factory=list)
    samples: int = 0
    problems: list[str] = field(default_factory=list)
    compared: Compared | None = None

    def __str__(self) -> str:
        found = self.compared
        events = (
            ""
            if found is None
            else f"{found.live} events told, {found.expected} expected, {len(found.missing)} missing, "
            f"{len(found.surplus)} others, {found.twice} twice; "
        )
        moved = ", ".join(f"{each:.1f}" for each in self.moved_after_s)
        return (
            f"{len(self.moved_after_s)} losses of a leader (others led after {moved} s), "
            f"{self.samples} samples: {events}{'right' if not self.problems else 'WRONG'}"
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster with topics, and a monitor that does not run yet."""

    cluster: KafkaCluster
    kafka: Kafka
    fleet: Fleet


async def play(scene: Scene, losses: list[str], *, rate: int, seed: int) -> Outcome:
    """Lose the leader of a partition once for each of ``losses``; at the end the monitor does not run."""
    outcome, stop = Outcome(), asyncio.Event()
    load = Load(scene.kafka, rate=rate, seed=seed)
    scene.fleet.start(INSTANCE)
    loading = asyncio.create_task(load.run(stop))
    try:
        await _until_ready(scene.fleet)
        await asyncio.sleep(_SETTLED_S)
        for number, loss in enumerate(losses):
            await _lose(scene, number, loss, outcome)
            if loading.done():
                break
    finally:
        stop.set()
        await loading
    outcome.samples = load.samples
    await _judge(scene, outcome)
    return outcome


async def _lose(scene: Scene, number: int, loss: str, outcome: Outcome) -> None:
    """Lose the leader of a partition, for so long that all is led by others and evaluated again."""
    cluster, topic = scene.cluster, scene.kafka.topic("metrics")
    partitions = await cluster.partitions(topic)
    node = partitions[number % len(partitions)].leader
    began = time.monotonic()
    await (cluster.kill(node) if loss == "killed" else cluster.stop_one(node))
    await cluster.until_led(topic, without=node)
    outcome.moved_after_s.append(time.monotonic() - began)
    await asyncio.sleep(_SETTLED_S)
    await cluster.start_one(node)
    await cluster.until_in_sync(topic)
    print(f"{loss}: node {node}, others led after {outcome.moved_after_s[-1]:.1f} s", flush=True)


async def _until_ready(fleet: Fleet) -> None:
    deadline = time.monotonic() + _READY_S
    while not await asyncio.to_thread(fleet.is_ready, INSTANCE):
        if time.monotonic() > deadline or fleet.died():
            raise RuntimeError(f"the monitor is not ready\n{fleet.log_tail()}")
        await asyncio.sleep(0.1)


async def _judge(scene: Scene, outcome: Outcome) -> None:
    if not await caught_up(scene.kafka, timeout_s=_CATCH_UP_S):
        outcome.problems.append(f"not caught up within {_CATCH_UP_S:g} s\n{scene.fleet.log_tail()}")
    outcome.problems += [f"{name} ended with status {status}" for name, status in scene.fleet.died().items()]
    if await scene.fleet.stop(INSTANCE) != 0:
        outcome.problems.append(f"the monitor did not stop in good order\n{scene.fleet.log_tail()}")
    outcome.compared = await compare(scene.kafka, scene.fleet.directory)
    outcome.problems += outcome.compared.problems
    if outcome.compared.twice:
        outcome.problems.append(f"{outcome.compared.twice} events were told twice")
    always = [data for _, data in await told(scene.kafka) if data.trigger == "always"]
    if any(data.kind == "resolved" for data in always):
        outcome.problems.append("told as resolved what was not seen")
    if not any(data.kind == "no_data" for data in always):
        outcome.problems.append("no partition was without samples for long enough to be told")


@asynccontextmanager
async def scene_in(directory: Path, cache_dir: Path) -> AsyncIterator[Scene]:
    """Brokers of its own, with topics, and a configured monitor that does not run yet."""
    async with KafkaCluster(directory / "kafka", cache_dir=cache_dir) as cluster:
        settings = KafkaSettings(bootstrap_servers=cluster.bootstrap_servers, session_timeout_ms=3_000)
        kafka = kafka_of(settings)
        await ensure_topics(kafka)
        with ProcessGroup(directory / "monitors") as group:
            yield Scene(cluster, kafka, Fleet(group, settings, configure(directory / "config", ALL_RULES)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broker_leaders", description=__doc__)
    parser.add_argument("--losses", type=int, default=20, help="of a leader; default: %(default)s")
    parser.add_argument("--rate", type=int, default=3_000, help="samples a second: %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # It tells of each attempt to reach a node that is away.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

    async def run(directory: Path) -> Outcome:
        async with scene_in(directory, CACHE_DIR) as scene:
            losses = [LOSSES[number % len(LOSSES)] for number in range(options.losses)]
            return await play(scene, losses, rate=options.rate, seed=options.seed)

    with tempfile.TemporaryDirectory(prefix="backout-torture-") as name:
        outcome = asyncio.run(run(Path(name)))
    for problem in outcome.problems:
        print(f"  {problem}")
    print(f"leadership that moves: {outcome}")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
