"""Looking for the change of one setting that turns an answer, by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """A setting, what it is, and what it would have to be; ``words`` for people. ``value`` is the
    edge itself (``inclusive``: that value is enough). ``measure`` names the condition that a
    threshold is of, where there are several."""

    setting: str
    now: float
    value: float
    inclusive: bool
    words: str
    measure: str | None = None


def first_true(count: int, holds: Callable[[int], bool]) -> int | None:
    """The first index that holds, where all after it do, too: by bisection."""
    if not count or not holds(count - 1):
        return None
    return _between(-1, count - 1, holds)


def first_step(choices: Sequence[int], turns: Callable[[int], bool]) -> int | None:
    """The first of the choices that turns the answer, in steps that double until one does, and by
    bisection from there: for settings of which neither direction is the stricter one. It may pass
    over a choice that turns it between two that don't."""
    low, step = -1, 1
    while low < len(choices) - 1:
        high = min(low + step, len(choices) - 1)
        if turns(choices[high]):
            return choices[_between(low, high, lambda at: turns(choices[at]))]
        low, step = high, 2 * step
    return None


def _between(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """An index that holds after ``low`` or one before it that does not, where ``high`` holds."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
