"""What the monitor remembers of a breaker, on the states topic beside the phases of its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from services.monitor.domain.breakers.breaker import Breaker, CheckName
from services.monitor.domain.breakers.breaker_plan import BreakerPlan, settings_hash

_PREFIX = b"breaker/"


@dataclass(frozen=True, slots=True)
class RememberedBreaker:
    """A component's breaker, with what it was decided by: the hash of its settings, and of each
    check's rule."""

    component: str
    breaker: Breaker
    settings: str
    checks: Mapping[CheckName, str]

    @classmethod
    def of(cls, component: str, plan: BreakerPlan, breaker: Breaker) -> RememberedBreaker:
        checks = {name: check.fails.hash for name, check in plan.checks.items()}
        return cls(component, breaker, settings_hash(plan), checks)

    def differs(self, plan: BreakerPlan) -> bool:
        """Whether it was decided by other settings or checks than those of ``plan``."""
        return self != RememberedBreaker.of(self.component, plan, self.breaker)

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(self)


def breaker_key(component: str) -> bytes:
    """The key of a breaker's state on the states topic."""
    return _PREFIX + component.encode()


def is_breaker_key(key: bytes) -> bool:
    return key.startswith(_PREFIX)


def read_breaker(value: bytes) -> RememberedBreaker:
    """Raises msgspec.ValidationError or DecodeError for anything else."""
    return msgspec.json.decode(value, type=RememberedBreaker)
