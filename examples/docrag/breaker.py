"""Which implementation an upload takes while backout's circuit breaker says that the ordinary one fails.

The breaker judges the ordinary way alone. So an upload that takes the fallback is counted, and is no
measurement of the component: while the breaker is open its metrics are silent, and only the uploads that
it lets through to probe speak again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from backout_client import Decision
from examples.docrag.control import ControlPlane
from examples.docrag.eventlog import EventLog
from examples.docrag.extraction import Plan, plan_for
from examples.docrag.routing import COMPONENT

ORIGINAL_EXTRACTOR = "original_extractor"
Decide = Callable[[str], Decision]


class BreakerOpen(Exception):
    """The breaker is open, and its fallback is to reject, or none that this service has."""


@dataclass(frozen=True)
class Way:
    """How to extract, and the decision behind it where that is the fallback's way."""

    plan: Plan
    instead: Decision | None = None


class ExtractionBreaker:
    """Asks the breaker before each upload, and tells when its answer changes."""

    def __init__(self, decide: Decide, control: ControlPlane, events: EventLog) -> None:
        self._decide = decide
        self._control = control
        self._events = events
        self._told: tuple[str, str | None, bool] = ("closed", None, False)

    def way(self) -> Way:
        """The way of the next upload. Raises BreakerOpen, NoExtractor and ConfigurationError."""
        decision = self._decide(COMPONENT)
        self._tell(decision)
        if decision.allowed:
            return Way(plan_for(self._control.configuration()))
        if decision.fallback == ORIGINAL_EXTRACTOR:
            return Way(self._control.original_or_backup(), decision)
        raise BreakerOpen(f"uploads are rejected for now (fallback {decision.fallback}): {decision.why}")

    def _tell(self, decision: Decision) -> None:
        now = (decision.state, decision.fallback, decision.is_stale)
        if now != self._told:
            self._told = now
            fields = {"fallback": decision.fallback, "reason": decision.reason, "why": decision.why}
            severity = "INFO" if decision.state == "closed" else "WARN"
            self._events.emit(COMPONENT, severity, "breaker changed", state=decision.state, **fields)
