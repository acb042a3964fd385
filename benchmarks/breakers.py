"""``make bench ONLY=breakers``: what an application pays for asking its breaker before a call.

The client's in-memory answer, in each of its forms, beside the plain look-up in a dict that no
answer can be cheaper than; in turns, in one process. Exit status 1 if one of them takes 2 µs.
"""

from __future__ import annotations

import random
import statistics
import time
import timeit
from collections.abc import Callable
from functools import partial

from backout_client.decisions import Decisions, Taken
from backout_client.reading import Alive, Decided, State
from benchmarks.figures import write_figures

COMPONENTS = 1_000
CALLS, ROUNDS = 200_000, 9
LIMIT_NS = 2_000.0
LOOKUP = "dict look-up"
STATES: tuple[State, ...] = ("closed", "open", "half_open")


def main() -> int:
    runs: dict[str, list[float]] = {}
    ways = {LOOKUP: _lookup(), **{f"decide, {name}": way for name, way in _answers().items()}}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            runs.setdefault(name, []).append(timeit.timeit(way, number=CALLS) / CALLS * 1e9)
    medians = {name: statistics.median(values) for name, values in runs.items()}
    ratios = {f"{name} / {LOOKUP}": medians[name] / medians[LOOKUP] for name in medians if name != LOOKUP}
    write_figures("breakers", {name: ("ns a call", values) for name, values in runs.items()}, ratios)
    return 1 if max(medians.values()) >= LIMIT_NS else 0


def _name(number: int) -> str:
    return f"component_{number:04d}"


def _lookup() -> Callable[[], object]:
    known = {_name(number): number for number in range(COMPONENTS)}
    name = _name(random.randrange(COMPONENTS))  # noqa: S311
    return partial(known.get, name)


def _answers() -> dict[str, Callable[[], object]]:
    fresh, stale = _decisions(3_600.0), _decisions(1e-9)
    names = {state: _name(number) for number, state in enumerate(STATES)}
    return {
        **{state: partial(fresh.decide, name) for state, name in names.items()},
        "stale": partial(stale.decide, names["open"]),
        "unknown": partial(fresh.decide, "nobody"),
    }


def _decisions(stale_after_s: float) -> Decisions:
    """A thousand components on four partitions, of each state a third."""
    decisions = Decisions("closed", stale_after_s)
    now = time.time()
    for number in range(COMPONENTS):
        state = STATES[number % len(STATES)]
        fallback = None if state == "closed" else "cached_answers"
        decided = Decided(_name(number), state, fallback, "why", now, 0.1, number % 4)
        decisions.take(Taken(decided, now, 0.0))
    for partition in range(4):
        decisions.take(Taken(Alive(partition, now), now, 0.0))
    decisions.read_once = True
    return decisions


if __name__ == "__main__":
    raise SystemExit(main())
