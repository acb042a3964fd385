"""The second stage over the reports topic: a report fires at once.

Nothing is waited for, so the order of the topic decides: the first report gives the episode its id,
and those that follow while it lasts belong to it. A person's word has no measured end. The trigger is
announced for ten minutes after the last report, as long as a command holds, and then ends as
superseded: that it is resolved nobody has seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from schemas.reports import ReportKind
from services.monitor.domain.compound.definitions import CompoundRule, Reported
from services.monitor.domain.compound.outcomes import (
    REPEATED_WITHIN_S,
    CompoundOutcome,
    Episode,
    Part,
    fired,
    superseded,
)

LASTS_S = 600
"""How long a report is announced; a command expires after as long."""
MAX_AHEAD_S = 60
"""How far the clock of whoever reports may be ahead."""
MOST_PARTS = 20
"""So many reports of an episode are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report, as far as a decision needs it; ``at`` in epoch seconds."""

    id: str
    kind: ReportKind
    component: str
    at: float
    reported_by: str
    reason: str

    def part(self) -> Part:
        when = datetime.fromtimestamp(self.at, UTC).strftime("%H:%M:%S UTC")
        what = self.kind.replace("_", " ")
        said = f"{self.reported_by} reported {what} of {self.component} at {when}: {self.reason}"
        return Part(self.id, self.kind, self.component, math.floor(self.at), said)


@dataclass(frozen=True, slots=True)
class ReportEpisode:
    """An episode with the reports in it (the first of them), how many they are, and its end."""

    episode: Episode
    parts: tuple[Part, ...]
    count: int
    until: int

    def joined_by(self, part: Part) -> ReportEpisode:
        """With one more report; one that is known already changes nothing."""
        if part in self.parts:
            return self
        parts = self.parts if len(self.parts) >= MOST_PARTS else (*self.parts, part)
        return replace(self, parts=parts, count=self.count + 1, until=max(self.until, part.at + LASTS_S))


class ReportStage:
    """Knows the episodes of the compound triggers that reports decide."""

    def __init__(self, rules: Sequence[CompoundRule]) -> None:
        self.episodes: dict[str, ReportEpisode] = {}
        self._rules = tuple(rules)
        self._changed: set[str] = set()

    def recall(self, episodes: Iterable[ReportEpisode]) -> list[CompoundOutcome]:
        """Go on from what was kept; the ends of episodes whose definition has changed."""
        hashes = {rule.name: rule.hash for rule in self._rules}
        outcomes = []
        for each in episodes:
            name = each.episode.rule.name
            if hashes.get(name) == each.episode.rule.hash:
                self.episodes[name] = each
            else:
                self._changed.add(name)
                outcomes.append(superseded(each.episode, each.episode.announced))
        return outcomes

    def take(self, report: Report, now: float) -> list[CompoundOutcome]:
        """What follows from a report that is read at ``now``."""
        outcomes = self.pass_time(now)
        for rule in self._rules:
            if isinstance(rule.condition, Reported) and report.kind in rule.condition.kinds:
                outcomes += self._report(rule, report.part())
        return [*outcomes, *self.pass_time(now)]

    def pass_time(self, now: float) -> list[CompoundOutcome]:
        """What is due at ``now``: announcements, and ends."""
        through = math.floor(now)
        return [
            outcome
            for name in list(self.episodes)
            for outcome in self._pass(name, self.episodes[name], through)
        ]

    @property
    def due(self) -> float | None:
        """When time has to pass next, by the clock; None where nothing waits for it."""
        return min((min(each.episode.due, each.until) for each in self.episodes.values()), default=None)

    def changed(self) -> dict[str, ReportEpisode | None]:
        """The episodes, by trigger, that have changed since this was asked last; None: it has ended."""
        found = {name: self.episodes.get(name) for name in self._changed}
        self._changed.clear()
        return found

    def _report(self, rule: CompoundRule, part: Part) -> list[CompoundOutcome]:
        self._changed.add(rule.name)
        running = self.episodes.get(rule.name)
        if running is not None:
            self.episodes[rule.name] = running.joined_by(part)
            return []
        episode = Episode.at(rule, (part,), part.at)
        self.episodes[rule.name] = ReportEpisode(episode, (part,), 1, part.at + LASTS_S)
        return [fired(episode, 1, "reported")]

    def _pass(self, name: str, running: ReportEpisode, through: int) -> list[CompoundOutcome]:
        outcomes: list[CompoundOutcome] = []
        episode, last = running.episode, min(through, running.until - 1)
        while episode.due <= last:
            second = episode.due
            if through - second <= REPEATED_WITHIN_S:
                outcomes.append(
                    CompoundOutcome(second, "firing", "still_firing", episode, running.parts, running.count)
                )
            episode = episode.announced_at(second)
        if episode is not running.episode:
            self._changed.add(name)
            self.episodes[name] = replace(running, episode=episode)
        if through >= running.until:
            self._changed.add(name)
            del self.episodes[name]
            ended = CompoundOutcome(
                running.until, "superseded", "report_expired", episode, running.parts, running.count
            )
            outcomes.append(ended)
        return outcomes
