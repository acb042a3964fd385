"""Which component's playbook a breach leads to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.monitor.domain.rules import COMPONENT_PLACEHOLDER, Rule


@dataclass(frozen=True, slots=True)
class Target:
    """A line of targets.yml: ``metric`` or ``component`` None fits any."""

    metric: str | None
    component: str | None
    playbook: str

    def fits(self, metric: str, component: str) -> bool:
        return self.metric in (None, metric) and self.component in (None, component)


@dataclass(frozen=True, slots=True)
class Targets:
    """All lines, the first fitting one counts, and what happens where none fits."""

    lines: tuple[Target, ...] = ()
    default: str | None = None

    @classmethod
    def of(cls, lines: Iterable[Target], default: str | None) -> Targets:
        return cls(tuple(lines), default)

    def rollback_for(self, rule: Rule, component: str) -> str:
        """The component that a breach of ``rule`` by ``component`` asks to roll back."""
        if rule.rollback != COMPONENT_PLACEHOLDER:
            return rule.rollback
        for line in self.lines:
            if line.fits(rule.metric, component):
                return line.playbook
        if self.default is None or self.default == COMPONENT_PLACEHOLDER:
            return component
        return self.default

    def may_lead_somewhere(self, metric: str) -> bool:
        """Whether some component's breach of ``metric`` has a playbook to ask for."""
        return self.default is not None or any(line.metric in (None, metric) for line in self.lines)
