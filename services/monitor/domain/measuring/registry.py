"""Which object works out each aggregate.

The names and what is known of them are in ``language.aggregates``; a test holds the two lists together.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.measuring.aggregates.change import Change
from services.monitor.domain.measuring.aggregates.count import Count
from services.monitor.domain.measuring.aggregates.extreme import Extreme
from services.monitor.domain.measuring.aggregates.last import Last
from services.monitor.domain.measuring.aggregates.quantile import Quantile
from services.monitor.domain.measuring.aggregates.rate import Rate
from services.monitor.domain.measuring.aggregates.stddev import Deviation
from services.monitor.domain.measuring.aggregates.total import Sum
from services.monitor.domain.measuring.measures import Measure, OwnBank

REGISTRY: Mapping[Aggregate, Measure | OwnBank] = MappingProxyType(
    {
        "last": Last(),
        "avg": Sum(mean=True),
        "min": Extreme(greatest=False),
        "max": Extreme(greatest=True),
        "sum": Sum(mean=False),
        "count": Count(),
        "stddev": Deviation(),
        "rate": Rate(),
        "change": Change(),
        "p50": Quantile(0.5),
        "p90": Quantile(0.9),
        "p95": Quantile(0.95),
        "p99": Quantile(0.99),
    }
)

_MEASURES = {name: found for name, found in REGISTRY.items() if isinstance(found, Measure)}


def measure_of(aggregate: Aggregate) -> Measure | None:
    """What answers it from cells and by sweeping; None for an aggregate with a bank of its own."""
    return _MEASURES.get(aggregate)
