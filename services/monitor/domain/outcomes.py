"""What the engine has to tell: a change of phase or an announcement, with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from services.monitor.domain.durations import format_duration
from services.monitor.domain.phases import Kind, Phase, Reason
from services.monitor.domain.rules import Rule, trigger_id
from services.monitor.domain.windows import NONE


@dataclass(frozen=True, slots=True)
class Evidence:
    """The offsets, on ``partition`` of the metrics topic, between which the samples are that
    decided; ``samples`` of them breached."""

    partition: int
    first_offset: int
    last_offset: int
    samples: int


def evidence_between(partition: int, first_offset: int, last_offset: int, samples: int) -> Evidence | None:
    """The evidence, or None where absence alone decided: no sample stands behind it."""
    if NONE in (first_offset, last_offset):
        return None
    return Evidence(partition, first_offset, last_offset, samples)


@dataclass(frozen=True, slots=True)
class Outcome:
    """At second ``at`` the trigger ``rule`` went ``before`` → ``after`` for ``component``.

    ``kind`` is the event to publish (None: nothing is announced), ``value`` None without data,
    ``began`` the first second of the breach. All times are epoch seconds.
    """

    at: int
    rule: Rule
    component: str
    before: Phase
    after: Phase
    reason: Reason
    kind: Kind | None
    value: float | None
    began: int
    evidence: Evidence | None

    @property
    def group(self) -> dict[str, str]:
        return {"component": self.component}

    @property
    def trigger_id(self) -> str:
        return trigger_id(self.rule.name, self.group, self.began)

    @property
    def is_transition(self) -> bool:
        return self.before != self.after

    @property
    def why(self) -> str:
        """The reason in words, for people."""
        rule = self.rule
        found = "no data" if self.value is None else f"{self.value:.6g}"
        what = f"{rule.metric} of {self.component}"
        since = format_duration(self.at - self.began)
        start = utc(self.began).strftime("%H:%M:%S UTC")
        sentences: dict[Reason, str] = {
            "breach_began": f"{what} is {found} ({rule.when})",
            "breach_lasted": f"{what} is {found} ({rule.when}), breaching since {start}, {since} ago",
            "still_firing": f"{what} is {found}; the trigger has been firing since a breach at {start}",
            "breach_ended": f"{what} is {found}, no longer {rule.when}",
            "between": f"{what} is {found}, neither {rule.when} nor {rule.clear}",
            "no_data": f"{what} has no data in its window",
            "no_data_too_long": f"{what} had no data for longer than {format_duration(rule.terms.lasting)}",
            "superseded": f"the definition of {rule.name} was changed or removed while it was firing",
        }
        return sentences[self.reason]


def utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@lru_cache(maxsize=65_536)
def rfc3339(seconds: int) -> str:
    """``2026-01-01T00:00:00Z``."""
    return utc(seconds).isoformat()[:19] + "Z"
