"""``make torture``: the scenario over and over, and with its services killed at random moments.

Without ``--only``: the whole demo, ten times in a row, each from nothing; then a ``kill -9`` of
each service, ten times each, restarted, on one Kafka and one Postgres but with everything else
anew. Each run is held against the same claims as the demo; nothing may be left behind.

Exit status: 0 if every run ended right. The last line counts them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chassis.embedded.process_group import ProcessGroup
from chassis.errors import BackoutError
from chassis.kafka_admin import delete_topics
from chassis.settings import SERVICES
from examples.demo.infrastructure import Infrastructure, embedded_infrastructure
from examples.demo.leftovers import processes_of
from examples.demo.scenario import Pace, play
from examples.demo.summary import TOLD_ONCE, judge
from examples.demo.system import System, SystemOptions
from examples.demo.watch import Watched

SCENARIO = "scenario"
PACE = Pace(baseline=2.0, released=1.0)
# From the degradation to the closing of the incident a run takes about this long, and the
# rollback with its announcements this much of it: every other kill falls into the latter.
INCIDENT_S = 30.0
ROLLBACK_S = 3.0


@dataclass(frozen=True, slots=True)
class Moment:
    """When a service is killed: seconds after the degradation began, or after the trigger fired."""

    seconds: float
    fired: bool

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s after the {'trigger' if self.fired else 'degradation'}"


def main() -> int:
    options = _parse()
    chosen = [options.only] if options.only else [SCENARIO, *SERVICES]
    counts: dict[str, tuple[int, int]] = {}
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="backout-torture-") as directory:
        if SCENARIO in chosen:
            counts[SCENARIO] = _repeat_demo(Path(directory), options.times)
        services = [name for name in chosen if name != SCENARIO]
        if services:
            counts |= asyncio.run(_kill_services(Path(directory), services, options))
        left = processes_of(Path(directory))
    for pid, command in left.items():
        print(f"left behind: {pid} {command}")
    words = ", ".join(f"{name} {good} of {runs}" for name, (good, runs) in counts.items())
    passed = sum(good for good, _ in counts.values())
    failed = sum(runs for _, runs in counts.values()) - passed
    print(f"torture: {words}; left behind {len(left)}")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and not left else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--only", choices=[SCENARIO, *SERVICES], help="default: all of them")
    parser.add_argument("--times", type=int, default=10, help="runs of each; default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    return parser.parse_args()


def _repeat_demo(directory: Path, times: int) -> tuple[int, int]:
    """The demo as a person runs it, ``times`` times in one directory."""
    good = 0
    for number in range(1, times + 1):
        began = time.monotonic()
        run = subprocess.run(
            [sys.executable, "-m", "examples.demo", "--state-dir", str(directory / "demo")],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        left = processes_of(directory)
        right = run.returncode == 0 and not left
        good += right
        print(f"scenario {number}: {_word(right)} in {time.monotonic() - began:.0f} s", flush=True)
        if not right:
            print(run.stdout[-4_000:], run.stderr[-2_000:], left)
    return good, times


async def _kill_services(
    directory: Path, services: list[str], options: argparse.Namespace
) -> dict[str, tuple[int, int]]:
    chance = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    counts = {}
    with ProcessGroup(_made(directory / "servers")) as group:
        cache = Path(os.environ.get("BACKOUT_CACHE_DIR", "~/.cache/backout"))
        async with embedded_infrastructure(directory / "servers", cache, group) as infrastructure:
            for service in services:
                good = 0
                for number in range(1, options.times + 1):
                    good += await _one_kill(infrastructure, directory, service, number, chance)
                counts[service] = (good, options.times)
    return counts


async def _one_kill(
    infrastructure: Infrastructure, directory: Path, service: str, number: int, chance: random.Random
) -> bool:
    """One run with one kill; whether all claims held."""
    name = f"{service}{number}"
    moment = Moment(chance.uniform(0, ROLLBACK_S), fired=True)
    if number % 2:
        moment = Moment(chance.uniform(0, INCIDENT_S), fired=False)
    options = SystemOptions(
        namespace=f"{name}.", database=f"{name}_backout", sample_database=f"{name}_docrag"
    )
    began = time.monotonic()
    problems: list[str] = []
    received = ""
    state_dir = _made(directory / name)
    with ProcessGroup(state_dir) as group:
        async with System(infrastructure, group, state_dir, options) as system:
            try:
                outcome = await play(
                    system,
                    told=lambda _event: None,
                    stage=lambda _text: None,
                    pace=PACE,
                    meanwhile=_killer(system, service, moment),
                )
                verdict = judge(outcome, system)
                received = next(found for claim, _, found in verdict.claims if claim == TOLD_ONCE)
                problems = [f"{claim}: {found}" for claim, held, found in verdict.claims if not held]
            except BackoutError as error:
                problems = [str(error), *(f"{each}:\n{system.log_tail(each, 5)}" for each in SERVICES)]
        await delete_topics(system.kafka)
    problems += [f"left behind: {command}" for command in processes_of(state_dir).values()]
    ended = f"{_word(not problems)} in {time.monotonic() - began:.0f} s"
    print(f"{service} {number}: killed {moment}, {ended}; {received}", flush=True)
    for problem in problems:
        print(f"  {problem}")
    return not problems


def _killer(system: System, service: str, moment: Moment) -> Callable[[Watched], Awaitable[Any]]:
    async def kill(seen: Watched) -> None:
        if moment.fired:
            await seen.until(lambda so_far: bool(so_far.triggers("fired")), PACE.fire_within)
        await asyncio.sleep(moment.seconds)
        system.kill_service(service)
        system.start_service(service)
        await system.wait_ready(service)

    return kill


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _word(right: bool) -> str:
    return "right" if right else "WRONG"


if __name__ == "__main__":
    sys.exit(main())
