"""A predictive alert as configured, and a prediction made for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.groups import COMPONENT, Group, Selection, selection
from services.monitor.domain.prediction.scoring import Floats

DIRECTED = (">", ">=", "<", "<=")
"""The operators that a breach may have: a distance to the threshold needs a side."""


@dataclass(frozen=True, slots=True)
class PredictiveAlert:
    """``model``'s prediction that ``metric`` will satisfy ``breach`` within ``horizon`` seconds, for
    each group of ``group_by`` (component, and labels); it alerts at ``confidence`` and above."""

    model: str
    metric: str
    breach: Condition
    horizon: int
    confidence: float
    group_by: tuple[str, ...] = ("component",)
    place: str = ""

    @property
    def selection(self) -> Selection:
        """The samples that it looks at, and the labels that tell its groups apart."""
        return selection((), [label for label in self.group_by if label != COMPONENT])

    def excess(self, values: Floats) -> Floats:
        """How far each value is beyond the threshold: positive where, and only where, it breaches."""
        operator, threshold = self.breach.operator, self.breach.threshold
        if operator == ">=":
            return values - math.nextafter(threshold, -math.inf)
        if operator == "<=":
            return math.nextafter(threshold, math.inf) - values
        return values - threshold if operator == ">" else threshold - values


@dataclass(frozen=True, slots=True)
class Prediction:
    """At ``at`` (epoch seconds), when the metric had ``value``, the probability of a breach."""

    at: float
    alert: PredictiveAlert
    of: Group
    probability: float
    value: float

    @property
    def alerts(self) -> bool:
        return self.probability >= self.alert.confidence
