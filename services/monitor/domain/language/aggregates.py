"""Which aggregates there are, and what is known of each without working one out.

Whoever reads, words, checks or explains a trigger asks here and knows no aggregate by its name. How its
value comes about is the business of its own file in ``measuring.aggregates``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

Aggregate = Literal[
    "last", "avg", "min", "max", "sum", "count", "stddev", "rate", "change", "p50", "p90", "p95", "p99"
]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)
DEFAULT_AGGREGATE: Aggregate = "last"


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of an aggregate.

    ``is_level``: its value is of the size of the samples, whatever the window. So a sample satisfies a
    condition by itself, or does not; and samples do for a baseline. Where it is none, a threshold says
    nothing about one sample, each counts as breaching, and a baseline is made of earlier values.

    ``is_newest``: the newest sample is all there is to it, and how long it counts is a `staleness`; any other
    is over the samples of a `window`.

    ``is_relative``: it has no level that could be compared with a baseline.

    ``least_window`` is in seconds: in a shorter one there can be no value.
    """

    is_level: bool = False
    is_newest: bool = False
    is_relative: bool = False
    least_window: int = 1

    @property
    def span(self) -> Literal["window", "staleness"]:
        """What its seconds are called."""
        return "staleness" if self.is_newest else "window"

    @property
    def sums_up(self) -> bool:
        """Whether it can stand for samples in any order, as a baseline's figure."""
        return self.is_level and not self.is_newest


_LEVEL, _OF_ALL = Traits(is_level=True), Traits()

TRAITS: Mapping[Aggregate, Traits] = MappingProxyType(
    {
        "last": Traits(is_level=True, is_newest=True),
        "avg": _LEVEL,
        "min": _LEVEL,
        "max": _LEVEL,
        "sum": _OF_ALL,
        "count": _OF_ALL,
        "stddev": _OF_ALL,
        "rate": _OF_ALL,
        # Fifths of the window are compared, and each needs a second.
        "change": Traits(is_relative=True, least_window=5),
        "p50": _LEVEL,
        "p90": _LEVEL,
        "p95": _LEVEL,
        "p99": _LEVEL,
    }
)
BASELINE_AGGREGATES: tuple[Aggregate, ...] = tuple(name for name in AGGREGATES if TRAITS[name].sums_up)
