"""What a backtest found, in the words of somebody who has to decide on a trigger: how often it
fired, for how long, what would have been rolled back, and how much of the time it was blind."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from services.monitor.domain.engine.outcomes import Outcome, rfc3339
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Action, Rule
from services.monitor.domain.language.targets import Targets
from services.monitor.domain.trials.coverage import Watched


@dataclass(frozen=True, slots=True)
class Firing:
    """From ``fired`` to ``ended`` (the last second evaluated, where it had not ended), and what it
    asks for."""

    trigger_id: str
    fired: int
    ended: int
    still: bool
    action: Action
    immediate: bool

    @property
    def seconds(self) -> int:
        return self.ended - self.fired

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.trigger_id,
            "fired": rfc3339(self.fired),
            "ended": None if self.still else rfc3339(self.ended),
            "firing_s": self.seconds,
            "action": {"kind": self.action.kind, "target": self.action.target},
            "immediate": self.immediate,
        }


@dataclass(slots=True)
class Line:
    """One trigger on one group. ``pending`` counts the breaches that ended before `for` had."""

    trigger: str
    of: Group
    watched: int = 0
    without_data: int = 0
    pending: int = 0
    firings: list[Firing] = field(default_factory=list)

    @property
    def firing_s(self) -> int:
        return sum(firing.seconds for firing in self.firings)

    @property
    def longest_s(self) -> int:
        return max((firing.seconds for firing in self.firings), default=0)

    def as_json(self) -> dict[str, Any]:
        return {
            "trigger": self.trigger,
            "component": self.of.component,
            "group": self.of.as_mapping(),
            "fired": len(self.firings),
            "firing_s": self.firing_s,
            "longest_s": self.longest_s,
            "breaches_too_short": self.pending,
            "watched_s": self.watched,
            "no_data_s": self.without_data,
            "firings": [firing.as_json() for firing in self.firings],
        }


def summarize(
    outcomes: Iterable[Outcome], watched: Iterable[Watched], targets: Targets, through: dict[str, int]
) -> list[Line]:
    """A line for each trigger and group that was watched, by name; ``through`` is the last
    second evaluated, by component."""
    lines: dict[tuple[str, Group], Line] = {}
    for each in watched:
        line = lines.setdefault((each.trigger, each.of), Line(each.trigger, each.of))
        line.watched += each.seconds
        line.without_data += each.without_data
    began: dict[tuple[str, Group], Outcome] = {}
    for outcome in outcomes:
        if not outcome.is_transition:
            continue
        key = (outcome.rule.name, outcome.of)
        line = lines.setdefault(key, Line(*key))
        if outcome.after == "firing":
            began[key] = outcome
        elif outcome.before == "firing" and key in began:
            line.firings.append(_firing(began.pop(key), outcome.at, targets, still=False))
        elif outcome.before == "pending":
            line.pending += 1
    for key, outcome in began.items():
        end = max(outcome.at, through.get(outcome.component, outcome.at))
        lines[key].firings.append(_firing(outcome, end, targets, still=True))
    return [lines[key] for key in sorted(lines)]


def without_samples(rules: Iterable[Rule], lines: Iterable[Line]) -> list[str]:
    """The triggers that saw no sample at all, so that no line is theirs: often a name that is misspelt."""
    seen = {line.trigger for line in lines}
    return [rule.name for rule in rules if rule.name not in seen]


def _firing(fired: Outcome, ended: int, targets: Targets, *, still: bool) -> Firing:
    rule = fired.rule
    target = targets.target_of(rule, fired.component)
    action = Action(rule.action.kind, target)
    return Firing(fired.trigger_id, fired.at, ended, still, action, rule.immediate)
