"""How much of the time a window had any sample in it.

A trigger that did not fire while its metric was silent has proved nothing; a backtest says for how
much of the time that was so. Late samples are taken to be no news: they fill no gap behind the
newest sample. Samples of the last seconds, not evaluated yet, count as if they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from services.monitor.domain.engine.series import SeriesName
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.columns import NO_SERIES, second_of
from services.monitor.domain.measuring.windows import Floats, Ints


@dataclass(frozen=True, slots=True)
class Watched:
    """One trigger on one group: the seconds from its first sample on, and how many of them had no
    sample in the window (of its first condition). Of several series in a group the best known counts."""

    trigger: str
    of: Group
    seconds: int
    without_data: int


@dataclass(slots=True)
class _Seen:
    first: int
    newest: int
    covered: dict[int, int]


class Coverage:
    """The samples of one partition, as a backtest hands them over."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.metric, []).append(rule)
        self._seen: dict[int, _Seen] = {}

    def add(self, series: Ints, time: Floats, names: Mapping[int, SeriesName]) -> None:
        """Samples in the order of the log, and the name of each series."""
        known = series != NO_SERIES
        if not known.any():
            return
        numbers = series[known].astype(np.int32)
        seconds = second_of(time[known])
        order = np.argsort(numbers, kind="stable")
        numbers, seconds = numbers[order], seconds[order]
        edges = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for begin, end in zip(edges, [*edges[1:], len(numbers)], strict=True):
            number = int(numbers[begin])
            windows = {rule.window for rule in self._rules.get(names[number].metric, ())}
            self._add(number, np.maximum.accumulate(seconds[begin:end]), windows)

    def _add(self, number: int, seconds: Ints, windows: Iterable[int]) -> None:
        seen = self._seen.get(number)
        if seen is None:
            first = int(seconds[0])
            seen = self._seen[number] = _Seen(first, first, dict.fromkeys(windows, 0))
        apart = np.diff(np.maximum(seconds, seen.newest), prepend=seen.newest)
        for window in seen.covered:
            seen.covered[window] += int(np.minimum(apart, window).sum())
        seen.newest = max(seen.newest, int(seconds[-1]))

    def watched(self, names: Mapping[int, SeriesName], through: int | None) -> Iterable[Watched]:
        """What there is to say when the seconds up to ``through`` are evaluated."""
        best: dict[tuple[str, Group], Watched] = {}
        for number, seen in self._seen.items():
            name = names[number]
            for rule in self._rules.get(name.metric, ()):
                group = rule.selection.group_of(name.component, name.labels)
                if group is None:
                    continue
                found = _watched(rule, group, seen, through)
                known = best.get((rule.name, group), found)
                best[rule.name, group] = Watched(
                    rule.name,
                    group,
                    max(found.seconds, known.seconds),
                    min(found.without_data, known.without_data),
                )
        return best.values()


def _watched(rule: Rule, group: Group, seen: _Seen, through: int | None) -> Watched:
    seconds = max(0, (seen.first if through is None else through + 1) - seen.first)
    covered = seen.covered[rule.window] + rule.window
    if through is not None:
        # What the newest samples cover beyond the end is not watched.
        covered -= max(0, seen.newest + rule.window - (through + 1))
    return Watched(rule.name, group, seconds, max(0, seconds - max(0, covered)))
