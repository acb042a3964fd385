"""A member: one trigger of one component, as its announcements tell of it.

Announcements of different components come in any order. So a member is kept as the set of its
news by second T, and how it stood at T is its last news at or before T: the order of arrival
leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from services.monitor.domain.language.phases import Kind
from services.monitor.domain.language.rules import Severity

Standing = Literal["firing", "resolved", "gone"]
"""``gone``: nothing more will be said of it, and nobody has seen that it is well."""
_STANDING: dict[Kind, Standing] = {
    "fired": "firing",
    "firing": "firing",
    "no_data": "firing",
    "resolved": "resolved",
    "superseded": "gone",
}
_ORDER: tuple[Standing, ...] = ("firing", "gone", "resolved")
"""Of several news of one second the last of these counts."""


@dataclass(frozen=True, slots=True)
class MemberEvent:
    """What the second stage needs of a trigger event; ``at`` is its T, ``began`` the first second of
    its breach, in epoch seconds."""

    trigger_id: str
    trigger: str
    component: str
    severity: Severity
    kind: Kind
    at: int
    began: int

    @property
    def standing(self) -> Standing:
        return _STANDING[self.kind]


@dataclass(frozen=True, slots=True)
class Member:
    """``news`` is how it stood from each T on, in order; ``fired_at`` the T of its ``fired``, if that is
    known, and ``began`` the first second of its breach."""

    trigger_id: str
    trigger: str
    component: str
    severity: Severity
    began: int
    fired_at: int | None
    news: tuple[tuple[int, Standing], ...]

    @classmethod
    def of(cls, event: MemberEvent) -> Member:
        return cls(
            trigger_id=event.trigger_id,
            trigger=event.trigger,
            component=event.component,
            severity=event.severity,
            began=event.began,
            fired_at=event.at if event.kind == "fired" else None,
            news=((event.at, event.standing),),
        )

    @property
    def fired(self) -> int:
        """When it fired. Where retention has taken that event it is when its breach began: old alarms
        that are first heard of in the same minute are not to look as if they had come together."""
        return self.began if self.fired_at is None else self.fired_at

    def after(self, event: MemberEvent, *, settled: int | None = None) -> Member:
        """With one more event."""
        told = self.told(event.at, event.standing, settled=settled)
        return replace(told, fired_at=event.at) if event.kind == "fired" else told

    def told(self, at: int, standing: Standing, *, settled: int | None = None) -> Member:
        """With one more piece of news. What lies before ``settled`` (the last second evaluated) is
        kept only as far as it still says how it stands."""
        news = {**dict(self.news)}
        known = news.get(at)
        news[at] = standing if known is None else max(known, standing, key=_ORDER.index)
        ordered = sorted(news.items())
        if settled is not None:
            old = sum(1 for second, _ in ordered if second <= settled)
            ordered = ordered[max(0, old - 1) :]
        return replace(self, news=tuple(ordered))

    def last(self, at: int) -> tuple[int, Standing] | None:
        """Its last news at or before second ``at``; None before its first."""
        found = None
        for second, standing in self.news:
            if second > at:
                break
            found = (second, standing)
        return found

    @property
    def newest(self) -> tuple[int, Standing]:
        """Its last news of all."""
        return self.news[-1]

    @property
    def order(self) -> tuple[int, str, str]:
        """What members are sorted by: the earliest first."""
        return self.fired, self.component, self.trigger_id
