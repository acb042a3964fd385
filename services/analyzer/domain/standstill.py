"""When something that is under way has stopped getting on.

The stream that passed records over says nothing of it, nor does the restoring of a table that hangs. How far
each has come is known, though: where that stays the same for a while, somebody has to see to it.
"""

from __future__ import annotations


class Standing:
    """Tells when something has been under way without getting on for so many looks in a row.

    Looks, not seconds: a process that was frozen has not looked.
    """

    def __init__(self, looks: int) -> None:
        self._limit = looks
        self._last: object = None
        self._looks = 0

    def look(self, state: object) -> bool:
        """``state`` is how far it is; None while nothing is under way."""
        self._looks = self._looks + 1 if state is not None and state == self._last else 0
        self._last = state
        return self._looks >= self._limit
