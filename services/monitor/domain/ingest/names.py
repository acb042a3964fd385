"""What a metric of another system is called here, and in which unit.

OpenTelemetry's ``http.server.request.duration`` is in seconds; a trigger on
``response_time_p95_ms`` wants milliseconds. Nothing guesses that: a mapping says it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STATISTIC = "{stat}"
"""Where in a new name the statistic of a distribution stands: p95, count, sum, …"""


@dataclass(frozen=True, slots=True)
class Renaming:
    """``to`` None keeps the name; ``factor`` is multiplied to all but counts of a distribution;
    ``merge`` makes one of all points of the metric that a component sends at one time."""

    to: str | None = None
    factor: float = 1.0
    merge: bool = False

    def name(self, origin: str, statistic: str | None) -> str:
        """The metric's name; ``statistic`` None is a plain number."""
        to = self.to if self.to is not None else origin
        if STATISTIC in to:
            return to.replace(STATISTIC, statistic or "value")
        return to if statistic is None else f"{to}_{statistic}"


@dataclass(frozen=True, slots=True)
class Names:
    """The mapping as a whole. ``keep_others`` False leaves out metrics that it does not name."""

    metrics: Mapping[str, Renaming] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    keep_others: bool = True

    def renaming(self, origin: str) -> Renaming | None:
        """How the metric is named here; None: it is left out."""
        found = self.metrics.get(origin)
        return found if found is not None or not self.keep_others else Renaming()
