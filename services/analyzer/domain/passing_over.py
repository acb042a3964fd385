"""Whether a stream may have passed records over just before the one that it hands on.

Offsets alone do not tell: the mark of a transaction takes one, too, and to look into the log at each of
them would cost more than the handling. Which record was fetched right before does tell.
"""

from __future__ import annotations


def may_be_missing(next_offset: int, offset: int, fetched_after: int | None) -> bool:
    """Whether records may lie from ``next_offset`` up to ``offset``, both unhandled.

    All before ``next_offset`` is handled. ``fetched_after`` is the offset of the record that was fetched
    right before the one at ``offset``, None where that is the first one since a seek.
    """
    if offset <= next_offset:
        return False
    return fetched_after is None or fetched_after >= next_offset
