"""Whom a breach's action is for; of a rollback, which component's playbook."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from services.monitor.domain.language.rules import COMPONENT_PLACEHOLDER, Rule


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

    def target_of(self, rule: Rule, component: str) -> str:
        """Whom the action of ``rule`` is for when ``component`` breaches it."""
        if rule.action.target != COMPONENT_PLACEHOLDER:
            return rule.action.target
        if rule.action.kind != "rollback":
            return component
        for line in self.lines:
            if line.fits(rule.metric, component):
                return line.playbook
        if self.default is None or self.default == COMPONENT_PLACEHOLDER:
            return component
        return self.default

    def may_lead_somewhere(self, metric: str) -> bool:
        """Whether some component's breach of ``metric`` has a playbook to ask for."""
        return self.default is not None or any(line.metric in (None, metric) for line in self.lines)
