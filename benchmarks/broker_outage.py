"""A broker that goes away, freezes or is slow while a trigger fires, and what the monitor says of it.

For each outage: a component's trigger fires; the broker is lost for a while; it comes back. The
monitor, the same process, goes on by itself. The seconds that nothing was seen of are reported as
``no_data`` under the id that had fired, never as resolved; samples that come again end or continue
the same breach. At the end all that was told is what a backtest over the log finds, each once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet import Fleet, kafka_of
from benchmarks.load import CACHE_DIR
from benchmarks.monitor_fleet import caught_up, compare, configure, told
from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.process_group import ProcessGroup
from chassis.errors import BackoutError
from chassis.kafka import Kafka, Producer
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings
from schemas.triggers import TriggerEvent

INSTANCE = "one"
RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", staleness: 2s}
"""
# Samples come at once here: nothing is gained by waiting for late ones.
LATENESS_S = 0.25
VARIABLES = {
    "BACKOUT_MONITOR__SILENCE_S": "0.5",
    "BACKOUT_MONITOR__ALLOWED_LATENESS_S": str(LATENESS_S),
}
_SEEN_WITHIN_S = 120.0
_THROTTLED_S = (0.25, 0.05)


class Unseen(RuntimeError):
    """What was waited for did not come."""


@dataclass(frozen=True, slots=True)
class Outage:
    """``stopped``: SIGTERM and a start; ``frozen``: SIGSTOP; ``slow``: frozen most of the time, in turns."""

    kind: str
    seconds: float

    @property
    def component(self) -> str:
        return f"{self.kind}_{self.seconds:g}s".replace(".", "_")


@dataclass(frozen=True, slots=True)
class Scene:
    """One broker, one monitor, and samples into the log."""

    broker: EmbeddedKafka
    kafka: Kafka
    fleet: Fleet

    async def publish(self, producer: Producer, component: str, value: float) -> None:
        sample = {"metric": "ms", "component": component, "value": value, "time": time.time()}
        topic = self.kafka.topic("metrics")
        await producer.send(topic, json.dumps(sample).encode(), key=component.encode())

    async def until(self, what: str, holds: Callable[[], Awaitable[bool]]) -> None:
        """Ask until it holds; an answer that the broker owes is none. Raises Unseen after two minutes,
        or if the monitor ends."""
        deadline = time.monotonic() + _SEEN_WITHIN_S
        said = ""
        while True:
            if self.fleet.died():
                raise Unseen(f"the monitor ended, while waited for: {what}\n{self.fleet.log_tail()}")
            try:
                if await holds():
                    return
            except BackoutError as error:
                said = str(error)
            if time.monotonic() > deadline:
                state = await asyncio.to_thread(self.fleet.state, INSTANCE)
                raise Unseen(
                    f"not within {_SEEN_WITHIN_S:g} s: {what} {said}\n{state}\n{self.fleet.log_tail()}"
                )
            await asyncio.sleep(0.1)

    async def told(self, component: str) -> list[TriggerEvent]:
        """What was told of a component's trigger so far."""
        return [data for _, data in await told(self.kafka) if data.component == component]


async def play(scene: Scene, outages: list[Outage]) -> list[str]:
    """Play the outages, one after the other; what went wrong, empty if nothing did."""
    scene.fleet.start(INSTANCE)
    problems = []
    try:
        for outage in outages:
            began = time.monotonic()
            problems += await _play_one(scene, outage)
            print(f"{outage.component}: over after {time.monotonic() - began:.1f} s", flush=True)
    except Unseen as error:
        return [*problems, str(error)]
    if not await caught_up(scene.kafka, timeout_s=_SEEN_WITHIN_S):
        problems.append("not caught up")
    if await scene.fleet.stop(INSTANCE) != 0:
        problems.append(f"the monitor did not stop in good order\n{scene.fleet.log_tail()}")
    found = await compare(scene.kafka, scene.fleet.directory, allowed_lateness=LATENESS_S)
    return [*problems, *found.problems, *(["an event was told twice"] if found.twice else [])]


async def _play_one(scene: Scene, outage: Outage) -> list[str]:
    component = outage.component

    async def has_fired() -> bool:
        await breach()
        return any(data.kind == "fired" for data in await scene.told(component))

    async def breach() -> None:
        async with scene.kafka.producer() as producer:
            await scene.publish(producer, component, 500)

    await scene.until("it fires", has_fired)
    await breach()
    lost_at = time.time()
    await _LOSSES[outage.kind](scene.broker, outage.seconds)

    async def has_told_the_gap() -> bool:
        gap = [data for data in await scene.told(component) if data.kind == "no_data"]
        return any(data.at.timestamp() > lost_at for data in gap)

    await scene.until("the gap is reported as no data", has_told_the_gap)
    before = [data.kind for data in await scene.told(component)]
    async with scene.kafka.producer() as producer:
        await scene.publish(producer, component, 400)
        await scene.publish(producer, component, 50)

    async def has_ended() -> bool:
        return [data.kind for data in await scene.told(component)][-1] == "resolved"

    await scene.until("the breach ends", has_ended)
    await scene.until("the monitor is ready again", lambda: _is_ready(scene.fleet))
    ids = {data.trigger_id for data in await scene.told(component)}
    problems = [] if len(ids) == 1 else [f"{component}: not one breach but {sorted(ids)}"]
    healthy = set(before) - {"fired", "firing", "no_data"}
    return [*problems, *(f"{component}: told {kind} of what was not seen" for kind in sorted(healthy))]


async def _is_ready(fleet: Fleet) -> bool:
    return await asyncio.to_thread(fleet.is_ready, INSTANCE)


async def _stopped(broker: EmbeddedKafka, seconds: float) -> None:
    await asyncio.to_thread(broker.stop)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(broker.start)


async def _frozen(broker: EmbeddedKafka, seconds: float) -> None:
    _signal(broker, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        _signal(broker, signal.SIGCONT)


async def _slow(broker: EmbeddedKafka, seconds: float) -> None:
    frozen_s, running_s = _THROTTLED_S
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        await _frozen(broker, frozen_s)
        await asyncio.sleep(running_s)


def _signal(broker: EmbeddedKafka, number: signal.Signals) -> None:
    if broker.process is None:
        raise RuntimeError("the broker does not run")
    os.kill(broker.process.pid, number)


_LOSSES: dict[str, Callable[[EmbeddedKafka, float], Awaitable[None]]] = {
    "stopped": _stopped,
    "frozen": _frozen,
    "slow": _slow,
}


@asynccontextmanager
async def scene_in(directory: Path, cache_dir: Path) -> AsyncIterator[Scene]:
    """A broker of its own, with topics, and a configured monitor that does not run yet."""
    broker = EmbeddedKafka(directory / "kafka", cache_dir=cache_dir)
    async with broker:
        settings = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, session_timeout_ms=3_000)
        kafka = kafka_of(settings)
        await ensure_topics(kafka)
        with ProcessGroup(directory / "monitors") as group:
            config = configure(directory / "config", RULES)
            yield Scene(broker, kafka, Fleet(group, settings, config, VARIABLES))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broker_outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each outage; default: %(default)s")
    options = parser.parse_args()

    async def run(directory: Path) -> list[str]:
        async with scene_in(directory, CACHE_DIR) as scene:
            return await play(scene, [Outage(kind, options.seconds) for kind in _LOSSES])

    with tempfile.TemporaryDirectory(prefix="backout-torture-") as name:
        problems = asyncio.run(run(Path(name)))
    for problem in problems:
        print(f"  {problem}")
    print(f"outages of the broker of {options.seconds:g} s: {'WRONG' if problems else 'right'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
