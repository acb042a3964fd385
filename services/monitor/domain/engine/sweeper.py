"""Evaluates long blocks of seconds, one series after the other.

The banks evaluate every second of all series at once, which is right for a live log that has
samples in every second. Over a recorded month with a sample every 15 s, most seconds can change
nothing: here each trigger is looked at only where something about its window or its phase does.
The outcomes are the same (tests/unit/monitor/test_sweep.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from services.monitor.domain.engine.held_samples import HeldSamples
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.shelves import Shelf
from services.monitor.domain.engine.sweep import Runs, Sweep
from services.monitor.domain.engine.sweep_walk import SweepWalk
from services.monitor.domain.language.phases import Verdict
from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.series_block import SeriesBlock
from services.monitor.domain.measuring.windows import NEVER

BLOCK = 86_400
"""Seconds evaluated at once, at most."""


class Sweeper:
    """The shelves of one partition that can be swept, with the samples that they still need."""

    def __init__(self, partition: int, *, announcing: bool = True) -> None:
        self._partition = partition
        self._announcing = announcing
        self._samples = HeldSamples()
        self.latest = NEVER
        """The greatest second of a sample: no window holds one after it and the window's length."""

    def restore(self, samples: Pending) -> None:
        """Take in samples that were counted already, without evaluating."""
        self._samples.hold(samples)
        self._note_latest(samples)

    def evaluate(
        self, shelves: Sequence[Shelf], samples: Pending, first: int, last: int, *, widest: int
    ) -> list[Outcome]:
        """Evaluate the seconds ``first`` to ``last``, in which ``samples`` become visible; no
        window is longer than ``widest`` seconds."""
        outcomes: list[Outcome] = []
        self._note_latest(samples)
        seen: list[set[int]] = [set() for _ in shelves]
        for series, block in self._samples.block(samples, first, last, widest):
            for shelf, rows in zip(shelves, seen, strict=True):
                for row in shelf.rows_of(series):
                    rows.add(row)
                    outcomes += self._row(shelf, row, block)
        for shelf, rows in zip(shelves, seen, strict=True):
            for row in sorted(shelf.awake - rows):
                outcomes += self._silent_row(shelf, row, first, last)
        return outcomes

    def _note_latest(self, samples: Pending) -> None:
        if len(samples):
            self.latest = max(self.latest, int(samples.second.max()))

    def _row(self, shelf: Shelf, row: int, block: SeriesBlock) -> list[Outcome]:
        instance = shelf.instances[row]
        sweep = Sweep(instance.rule, block)
        asleep = row not in shelf.awake
        if asleep and not sweep.may_breach():
            return []
        runs = sweep.runs(only_if_breaching=asleep)
        return [] if runs is None else self._walk(shelf, row, sweep, runs, block.last)

    def _silent_row(self, shelf: Shelf, row: int, first: int, last: int) -> list[Outcome]:
        """A trigger whose series has no sample in the block or any window of it."""
        runs = Runs([first], [int(Verdict.NO_DATA)], [0])
        return self._walk(shelf, row, None, runs, last)

    def _walk(self, shelf: Shelf, row: int, sweep: Sweep | None, runs: Runs, last: int) -> list[Outcome]:
        instance, announcing = shelf.instances[row], self._announcing
        walk = SweepWalk(instance, sweep, runs, last, self._partition, announcing=announcing)
        outcomes = walk.outcomes()
        shelf.note_awake(row)
        return outcomes
