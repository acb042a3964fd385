"""What breakers there are: the checks of each component, as rules of the engine.

A check is two rules, both evaluated by the one engine at each second. The first *fails*: it
fires when the check's condition has lasted. The second is *clear*: it fires at once while there
is data and the data is good, and ends at once when either is over. So no data is told from good
data without a second evaluator. The names of both hold a slash, which no trigger's name may: they
can't be taken for triggers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from services.monitor.domain.breakers.breaker import BreakerTerms, CheckName, Fallback
from services.monitor.domain.language.conditions import Condition, Operator
from services.monitor.domain.language.phases import NoData, Terms
from services.monitor.domain.language.rules import Rule

_FAILS, _CLEAR = "breaker/", "breaker-clear/"
_OPPOSITE: dict[Operator, Operator] = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}


@dataclass(frozen=True)
class Check:
    """One check of a component, by the two rules that tell of it."""

    name: CheckName
    fails: Rule
    clear: Rule

    @classmethod
    def of(cls, name: CheckName, rule: Rule, component: str | None) -> Check:
        """The check that fails as ``rule`` fires; ``component`` None: of every component.

        Silence ends a breach for the engine (``no_data: hold`` is the breaker's own business: it
        remembers what failed), or counts as one.
        """
        suffix = name if component is None else f"{name}/{component}"
        no_data: NoData = "breach" if rule.terms.no_data == "breach" else "ok"
        opposite = Condition(_OPPOSITE[rule.when.operator], rule.when.threshold)
        return cls(
            name,
            fails=replace(rule, name=_FAILS + suffix, terms=replace(rule.terms, no_data=no_data)),
            clear=replace(
                rule,
                name=_CLEAR + suffix,
                when=opposite if rule.clear is None else rule.clear,
                clear=None,
                terms=Terms(lasting=0, keep=0, min_samples=0, no_data="ok"),
            ),
        )


@dataclass(frozen=True)
class BreakerPlan:
    """A component's breaker as it is configured. The order of ``fallbacks`` is their priority."""

    terms: BreakerTerms
    checks: Mapping[CheckName, Check]
    fallbacks: tuple[Fallback, ...]


@dataclass(frozen=True)
class BreakerPlans:
    """The plan of every component (None: it has no breaker), and of those not named."""

    default: BreakerPlan | None = None
    components: Mapping[str, BreakerPlan | None] = field(default_factory=dict)

    def of(self, component: str) -> BreakerPlan | None:
        return self.components.get(component, self.default)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of all checks, each once, for the engine beside those of the triggers."""
        plans = [self.default, *self.components.values()]
        found = {
            rule.name: rule
            for plan in plans
            if plan is not None
            for check in plan.checks.values()
            for rule in (check.fails, check.clear)
        }
        return tuple(found.values())

    @property
    def are_configured(self) -> bool:
        return bool(self.rules)


NO_BREAKERS = BreakerPlans()


def feeds_breaker(rule: Rule) -> bool:
    """Whether a rule is a check's: it tells a breaker, and never a trigger."""
    return rule.name.startswith((_FAILS, _CLEAR))


def tells_clear(rule: Rule) -> bool:
    """Whether a check's rule is the one that fires while the data is seen to be good."""
    return rule.name.startswith(_CLEAR)


def settings_hash(plan: BreakerPlan) -> str:
    """The same for the same settings of a breaker, its checks apart: 16 hexadecimal digits."""
    terms = {name: getattr(plan.terms, name) for name in BreakerTerms.__dataclass_fields__}
    fallbacks: list[Any] = [[fallback.use, sorted(fallback.on)] for fallback in plan.fallbacks]
    text = json.dumps([terms, fallbacks], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
