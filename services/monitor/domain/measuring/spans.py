"""Runs of neighbouring entries in columns, and what is known of each run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.monitor.domain.measuring.ranges import ranges
from services.monitor.domain.measuring.windows import Floats, Ints

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Spans:
    """Which entries belong together: ``size`` of them, one at least, from each ``begin`` on. ``are_all``: the
    spans follow each other and leave no entry out; otherwise they may overlap."""

    begin: Ints
    size: Ints
    are_all: bool = False

    @classmethod
    def of_keys(cls, keys: Ints) -> Spans:
        """Neighbouring entries with one key belong together."""
        begin = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: len(keys)])
        return cls(begin, np.diff(begin, append=len(keys)), are_all=True)

    def __len__(self) -> int:
        return len(self.begin)

    def only(self, which: Ints) -> Spans:
        return Spans(self.begin[which], self.size[which])

    @cached_property
    def end(self) -> Ints:
        """The last entry of each."""
        return self.begin + self.size - 1

    @cached_property
    def of_each(self) -> Ints:
        """The span of each entry, span after span."""
        return np.repeat(np.arange(len(self.begin)), self.size)

    @cached_property
    def starts(self) -> Ints:
        """Where each span begins, span after span."""
        return self.begin if self.are_all else np.cumsum(self.size) - self.size

    @cached_property
    def _place(self) -> Ints:
        return ranges(self.begin, self.size)

    def each(self, column: NDArray[Number]) -> NDArray[Number]:
        """The entries, span after span."""
        return column if self.are_all else column[self._place]

    def sums(self, column: Floats) -> Floats:
        """What each span's entries are together, added one by one from the first to the last."""
        return self.sums_of_each(self.each(column))

    def sums_of_each(self, entries: Floats) -> Floats:
        """As ``sums``, of entries that stand span after span."""
        found = np.bincount(self.of_each, weights=entries, minlength=len(self))
        return found.astype(np.float64, copy=False)
