"""Samples by series and second, for windows that are swept rather than evaluated at each second.

What windows of later blocks still need is carried over from block to block.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from services.monitor.domain.measuring.columns import Pending
from services.monitor.domain.measuring.series_block import SeriesBlock

_SPAN = 1 << 40
"""More seconds than any two samples are apart, to order by (series, second) in one key."""


class HeldSamples:
    """The samples of all series of a partition that some window still holds."""

    def __init__(self) -> None:
        self._held = Pending.none()

    def hold(self, samples: Pending) -> None:
        """Take in samples of seconds that are evaluated already."""
        self._held = _ordered(_joined(self._held, samples))

    def block(
        self, samples: Pending, first: int, last: int, widest: int
    ) -> Iterator[tuple[int, SeriesBlock]]:
        """What is needed to sweep the seconds ``first`` to ``last``, series by series, when
        ``samples`` become visible in them; only windows up to ``widest`` seconds matter."""
        held = self._held
        held = held.take(held.second > first - widest)
        both = _ordered(_joined(held, samples))
        self._held = both.take(both.second > last - widest)
        if not len(both):
            return
        edges = np.flatnonzero(np.diff(both.series)) + 1
        begins = [0, *edges.tolist()]
        for begin, end in zip(begins, [*begins[1:], len(both)], strict=True):
            part = slice(begin, end)
            yield (
                int(both.series[begin]),
                SeriesBlock(
                    first,
                    last,
                    second=both.second[part],
                    arrived=both.first[part],
                    time=both.time[part],
                    value=both.value[part],
                    offset=both.offset[part],
                ),
            )


def _joined(earlier: Pending, later: Pending) -> Pending:
    if not len(earlier):
        return later
    return Pending(
        np.concatenate([earlier.series, later.series]),
        np.concatenate([earlier.second, later.second]),
        np.concatenate([earlier.first, later.first]),
        np.concatenate([earlier.time, later.time]),
        np.concatenate([earlier.value, later.value]),
        np.concatenate([earlier.offset, later.offset]),
    )


def _ordered(samples: Pending) -> Pending:
    key = samples.series * _SPAN + samples.second
    if (key[1:] >= key[:-1]).all():
        return samples
    return samples.take(np.argsort(key, kind="stable"))
