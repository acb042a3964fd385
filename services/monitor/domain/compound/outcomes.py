"""What a compound trigger has to tell, and its episode: from when it fired until it is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from schemas.commands import FULL_SYSTEM
from services.monitor.domain.compound.definitions import Cascade, CompoundRule, digest
from services.monitor.domain.compound.members import Member
from services.monitor.domain.engine.outcomes import rfc3339, utc
from services.monitor.domain.language.phases import ANNOUNCE_EVERY_S, Phase

CompoundKind = Literal["fired", "firing", "resolved", "superseded"]
CompoundReason = Literal[
    "enough_firing",
    "cascaded",
    "reported",
    "still_firing",
    "fewer_firing",
    "members_gone",
    "report_expired",
    "superseded",
]
REPEATED_WITHIN_S = 300
"""An announcement in between is told if its second is at most so far behind the time that made it due."""


@dataclass(frozen=True, slots=True)
class Part:
    """A member or a report behind an outcome: its id, its trigger's name or the report's kind, its
    component, and when it fired or was reported (epoch seconds). ``said`` is what a report said."""

    id: str
    name: str
    component: str
    at: int
    said: str = ""


@dataclass(frozen=True, slots=True)
class Episode:
    """A compound trigger that fires: ``parts`` gave it its id, ``began`` is the first of them.

    ``announced`` is the second of its last announcement, told or not.
    """

    rule: CompoundRule
    parts: tuple[Part, ...]
    began: int
    fired: int
    announced: int

    @classmethod
    def at(cls, rule: CompoundRule, parts: Sequence[Part], second: int) -> Episode:
        """The episode that begins with these parts at ``second``."""
        return cls(rule, tuple(parts), min(part.at for part in parts), second, second)

    @property
    def trigger_id(self) -> str:
        """``<name>:full_system-<digest of the parts>:<the first of them>``."""
        parts = digest(sorted(part.id for part in self.parts))[:8]
        start = datetime.fromtimestamp(self.began, UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"{self.rule.name}:{FULL_SYSTEM}-{parts}:{start}"

    @property
    def due(self) -> int:
        """When it is to be announced again."""
        return self.announced + ANNOUNCE_EVERY_S

    def announced_at(self, second: int) -> Episode:
        return replace(self, announced=second)

    def passed_over(self, through: int) -> Episode:
        """With the announcements until ``through`` counted and not told."""
        rounds = max(0, (through - self.announced) // ANNOUNCE_EVERY_S)
        return replace(self, announced=self.announced + rounds * ANNOUNCE_EVERY_S)


@dataclass(frozen=True, slots=True)
class CompoundOutcome:
    """At second ``at`` the episode is announced as ``kind``; ``value`` is how many components (or
    reports) there are, ``parts`` the earliest of them."""

    at: int
    kind: CompoundKind
    reason: CompoundReason
    episode: Episode
    parts: tuple[Part, ...]
    value: int

    @property
    def rule(self) -> CompoundRule:
        return self.episode.rule

    @property
    def trigger_id(self) -> str:
        return self.episode.trigger_id

    @property
    def is_transition(self) -> bool:
        return self.kind != "firing"

    @property
    def phases(self) -> tuple[Phase, Phase]:
        """Before and after."""
        if self.kind == "fired":
            return "inactive", "firing"
        return "firing", "firing" if self.kind == "firing" else "inactive"

    @property
    def why(self) -> str:
        """The reason in words, for people."""
        listed = _listed(self.parts)
        since = utc(self.episode.fired).strftime("%H:%M:%S UTC")
        words: dict[CompoundReason, str] = {
            "enough_firing": f"{self.value} components are firing: {listed}",
            "cascaded": f"a failure has spread over {self.value} components: {listed}",
            "reported": listed,
            "still_firing": f"firing since {since}: {listed}",
            "fewer_firing": f"no longer {self.rule.condition.words()}",
            "members_gone": (
                f"no longer {self.rule.condition.words()}, as far as can be told: members were "
                "superseded, or not heard of for a day; nobody has seen them well"
            ),
            "report_expired": (f"not reported again; whether it is over is for a person to say. {listed}"),
            "superseded": f"the definition of {self.rule.name} was changed or removed while it was firing",
        }
        return words[self.reason]


def fired(episode: Episode, value: int, reason: CompoundReason) -> CompoundOutcome:
    """The first announcement of an episode."""
    return CompoundOutcome(episode.fired, "fired", reason, episode, episode.parts, value)


def superseded(episode: Episode, at: int) -> CompoundOutcome:
    """The end of an episode whose definition is no longer the configured one."""
    return CompoundOutcome(at, "superseded", "superseded", episode, episode.parts, len(episode.parts))


def reason_of(rule: CompoundRule) -> CompoundReason:
    """Why a compound trigger of members fires."""
    return "cascaded" if isinstance(rule.condition, Cascade) else "enough_firing"


def parts_of(members: Sequence[Member]) -> tuple[Part, ...]:
    return tuple(Part(m.trigger_id, m.trigger, m.component, m.fired) for m in members)


def outcome_json(outcome: CompoundOutcome) -> dict[str, Any]:
    """A change of phase as the backtest prints it; times in RFC 3339."""
    before, after = outcome.phases
    return {
        "at": rfc3339(outcome.at),
        "trigger": outcome.rule.name,
        "group": {"component": FULL_SYSTEM},
        "from": before,
        "to": after,
        "reason": outcome.reason,
        "value": float(outcome.value),
        "threshold": float(outcome.rule.threshold),
        "began": rfc3339(outcome.episode.began),
        "id": outcome.trigger_id,
        "members": [part.id for part in outcome.parts],
    }


def _listed(parts: Sequence[Part]) -> str:
    return ", ".join(
        part.said or f"{part.name} of {part.component} since {utc(part.at).strftime('%H:%M:%S UTC')}"
        for part in parts
    )
