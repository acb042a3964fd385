"""The values of the samples that windows still hold, appended as they come and never moved by others.

A partition at 10,000 samples a second holds millions of values for its windows of minutes. To keep
them in the order of the cells would mean to copy them all at each second, for the few that come in
and go out. Here each cell's values lie together, at a *place* that is good for as long as the cell
is held; what is oldest is forgotten first, as cells are.
"""

from __future__ import annotations

import numpy as np

from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.windows import Floats, Ints

_SMALLEST = 256


class KeptValues:
    """Runs of values, found again by their place and length."""

    def __init__(self) -> None:
        self._held: Floats = np.empty(_SMALLEST)
        self._shift = 0
        """The place of the first value in ``_held``."""
        self._first = 0
        self._next = 0

    def add(self, values: Floats) -> int:
        """Append these; the place of the first of them."""
        place = self._next
        if place - self._shift + len(values) > len(self._held):
            self._make_room(len(values))
        begin = place - self._shift
        self._held[begin : begin + len(values)] = values
        self._next = place + len(values)
        return place

    def forget_before(self, place: int) -> None:
        """Nobody asks any more for what was appended before."""
        self._first = max(self._first, place)

    def runs(self, place: Ints, count: Ints) -> Floats:
        """The ``count`` values at each place, one run after the other."""
        return self._held.take(ranges(place - self._shift, count))

    def _make_room(self, more: int) -> None:
        """For as many again as there are then, so that moving them costs each value but once or twice."""
        kept = self._held[self._first - self._shift : self._next - self._shift]
        needed = len(kept) + more
        held = self._held
        if 2 * needed > len(held) or 8 * needed < len(held):
            held = np.empty(max(_SMALLEST, 2 * needed))
        held[: len(kept)] = kept
        self._held, self._shift = held, self._first
