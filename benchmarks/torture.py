"""``make torture``: the scenario over and over, and with its services killed at random moments.

Without ``--only``: the whole demo, ten times in a row, each from nothing; then a ``kill -9`` of
each service, ten times each, restarted, on one Kafka and one Postgres but with everything else
anew. Each run is held against the same claims as the demo; nothing may be left behind. The first
demo, which may have to download, takes less than 5 minutes, each later one less than 60 s. At
least half of the executor's kills must have met a running rollback.

Exit status: 0 if all of that holds. The last line counts the runs.
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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kill_moments import Moment, choose_moment, is_rollback_running, scenario_entries, wait_for
from benchmarks.load import CACHE_DIR
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
DEMO = (sys.executable, "-m", "examples.demo")
# What is promised of `make demo`, on the clock. Where the downloads are there already, the first
# of a series could be held to the second figure, too; but whether they are is not known here.
FIRST_DEMO_S = 300.0
LATER_DEMO_S = 60.0
# Of the kills of the executor at least this part has to meet a running rollback.
HITS_WANTED = {"executor": 0.5}


@dataclass(slots=True)
class Count:
    """Of ``runs`` that many ended right; ``hits`` kills met a running rollback, None where none was made."""

    runs: int = 0
    right: int = 0
    hits: int | None = None

    def __str__(self) -> str:
        hits = f", {self.hits} killed in a running rollback" if self.hits is not None else ""
        return f"{self.right} of {self.runs}{hits}"


def main() -> int:
    options = _parse()
    chosen = [options.only] if options.only else [SCENARIO, *SERVICES]
    counts: dict[str, Count] = {}
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="backout-torture-") as directory:
        if SCENARIO in chosen:
            counts[SCENARIO] = repeat_demo(Path(directory), options.times)
        services = [name for name in chosen if name != SCENARIO]
        if services:
            counts |= asyncio.run(_kill_services(Path(directory), services, options))
        left = processes_of(Path(directory))
    for pid, command in left.items():
        print(f"left behind: {pid} {command}")
    words = "; ".join(f"{name} {count}" for name, count in counts.items())
    missed = too_few_hits(counts)
    for name in missed:
        print(f"too few kills of the {name} met a running rollback: this run proves too little")
    passed = sum(count.right for count in counts.values())
    failed = sum(count.runs for count in counts.values()) - passed
    print(f"torture: {words}; left behind {len(left)}")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and not left and not missed else 1


def too_few_hits(counts: Mapping[str, Count]) -> list[str]:
    """The services whose kills too seldom met what they were aimed at."""
    return [
        name
        for name, wanted in HITS_WANTED.items()
        if name in counts and (counts[name].hits or 0) < wanted * counts[name].runs
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=[SCENARIO, *SERVICES], help="default: all of them")
    parser.add_argument("--times", type=int, default=10, help="runs of each; default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    return parser.parse_args()


def repeat_demo(directory: Path, times: int, demo: Sequence[str] = DEMO) -> Count:
    """The demo as a person runs it, ``times`` times in one directory."""
    count = Count(runs=times)
    for number in range(1, times + 1):
        began = time.monotonic()
        run = subprocess.run(
            [*demo, "--state-dir", str(directory / "demo")],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
        seconds = time.monotonic() - began
        left = processes_of(directory)
        limit = FIRST_DEMO_S if number == 1 else LATER_DEMO_S
        ended = run.returncode == 0 and not left
        right = ended and seconds < limit
        count.right += right
        print(f"scenario {number}: {_word(right)} in {seconds:.0f} s of {limit:.0f}", flush=True)
        if not ended:
            print(run.stdout[-4_000:], run.stderr[-2_000:], left)
        elif not right:
            print(f"  too slow: it has to take less than {limit:.0f} s")
    return count


async def _kill_services(
    directory: Path, services: list[str], options: argparse.Namespace
) -> dict[str, Count]:
    chance = random.Random(options.seed)  # noqa: S311 - moments, not secrets
    entries = scenario_entries()
    counts = {}
    with ProcessGroup(_made(directory / "servers")) as group:
        async with embedded_infrastructure(directory / "servers", CACHE_DIR, group) as infrastructure:
            for service in services:
                count = counts[service] = Count(runs=options.times, hits=0)
                for number in range(1, options.times + 1):
                    moment = choose_moment(service, number, chance, entries)
                    kill = Kill(service, moment)
                    count.right += await _one_kill(infrastructure, directory, f"{service}{number}", kill)
                    count.hits = (count.hits or 0) + kill.hit
    return counts


@dataclass(slots=True)
class Kill:
    """One kill to make; ``hit`` once it was made while a rollback ran."""

    service: str
    moment: Moment
    hit: bool = False

    def on(self, system: System) -> Callable[[Watched], Awaitable[Any]]:
        """What makes it, beside a scenario on ``system``."""

        async def make(seen: Watched) -> None:
            await wait_for(self.moment, seen, system.dsn)
            system.kill_service(self.service)
            self.hit = await is_rollback_running(system.dsn)
            system.start_service(self.service)
            await system.wait_ready(self.service)

        return make


async def _one_kill(infrastructure: Infrastructure, directory: Path, name: str, kill: Kill) -> bool:
    """One run with one kill; whether all claims held."""
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
                    meanwhile=kill.on(system),
                )
                verdict = judge(outcome, system)
                received = next(found for claim, _, found in verdict.claims if claim == TOLD_ONCE)
                problems = [f"{claim}: {found}" for claim, held, found in verdict.claims if not held]
            except BackoutError as error:
                problems = [str(error), *(f"{each}:\n{system.log_tail(each, 5)}" for each in SERVICES)]
        await delete_topics(system.kafka)
    problems += [f"left behind: {command}" for command in processes_of(state_dir).values()]
    ended = f"{_word(not problems)} in {time.monotonic() - began:.0f} s"
    where = "in a running rollback" if kill.hit else "outside of any rollback"
    print(f"{name}: killed {kill.moment}, {where}, {ended}; {received}", flush=True)
    for problem in problems:
        print(f"  {problem}")
    return not problems


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _word(right: bool) -> str:
    return "right" if right else "WRONG"


if __name__ == "__main__":
    sys.exit(main())
