"""The nearest change of a window, or of what a trigger says about releases, that would have turned
whether it fired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from services.monitor.domain.explaining.recorded import Recorded
from services.monitor.domain.explaining.searching import Change, first_step, first_true
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.columns import NO_SERIES, second_of

LONGEST_WINDOW_S = 86_400
"""A trigger file takes no longer window."""


class FurtherFlips:
    """Looks for another `only_within`, another window, and another window of the baseline."""

    def __init__(
        self, rule: Rule, recorded: Recorded, last: int, fired: bool, turns: Callable[[Rule], bool]
    ) -> None:
        self._rule = rule
        self._recorded = recorded
        self._last = last
        self._fired = fired
        self._turns = turns
        self.not_tried: list[str] = []

    def all(self) -> list[Change]:
        """The changes, each by itself."""
        within = None if self._rule.only_within is None else self._only_within(self._rule.only_within)
        return [*([] if within is None else [within]), *self._windows()]

    def _only_within(self, now: int) -> Change | None:
        releases = self._recorded.releases()
        if not releases:
            if self._turns(replace(self._rule, only_within=None)):
                self.not_tried.append("without `only_within` it would have fired: no release is known")
            return None
        most = max(now, self._last - min(release.second for _, release in releases) + 1)
        choices = range(now - 1, 0, -1) if self._fired else range(now + 1, most + 1)
        index = first_true(len(choices), lambda at: self._turns(replace(self._rule, only_within=choices[at])))
        if index is None:
            return None
        value = choices[index]
        enough = f"{format_duration(value)} or {'less' if self._fired else 'more'}"
        words = f"an `only_within` of {enough} instead of {format_duration(now)}"
        return Change("only_within", now, value, True, words)

    def _windows(self) -> list[Change]:
        """Other windows, as far as the records reach back; neither a longer nor a shorter one is the
        stricter."""
        mine = self._recorded.columns.series != NO_SERIES
        if not mine.any():
            return []
        oldest = int(second_of(self._recorded.columns.time[mine]).min())
        most = min(LONGEST_WINDOW_S, self._last - oldest + 1)
        found: list[Change] = []
        for index, check in enumerate(self._rule.checks):
            if not check.traits.is_newest:
                found += self._window("window", index, check.window, check.traits.least_window, most)
        for index, check in enumerate(self._rule.checks):
            if check.baseline is not None:
                found += self._window("baseline.window", index, check.baseline.window, 1, most)
        return found

    def _window(self, name: str, index: int, now: int, least: int, most: int) -> list[Change]:
        measure = self._rule.checks[index].words() if self._rule.further else None
        which = "" if measure is None else f" for {measure}"
        found = []
        for choices in (range(now + 1, most + 1), range(now - 1, least - 1, -1)):
            value = first_step(choices, lambda each: self._turns(with_window(self._rule, name, index, each)))
            if value is not None:
                words = f"a `{name}` of {format_duration(value)} instead of {format_duration(now)}{which}"
                found.append(Change(name, now, value, True, words, measure))
        return found


def with_window(rule: Rule, name: str, index: int, seconds: int) -> Rule:
    """The rule with another window of one of its checks, or of that check's baseline (``name`` is
    ``baseline.window``)."""
    check = rule.checks[index]
    if check.baseline is not None and name == "baseline.window":
        check = replace(check, baseline=replace(check.baseline, window=seconds))
    else:
        check = replace(check, window=seconds)
    if index == 0:
        return replace(rule, window=check.window, baseline=check.baseline)
    further = list(rule.further)
    further[index - 1] = check
    return replace(rule, further=tuple(further))
