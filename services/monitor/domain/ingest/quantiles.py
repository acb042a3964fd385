"""Quantiles of a distribution of which only buckets are known.

Within a bucket the values are taken to be spread evenly, as Prometheus' ``histogram_quantile``
takes them; so a quantile is at most one bucket's width away from the true one. Buckets of several
histograms may overlap: their counts add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple


class Bucket(NamedTuple):
    """``number`` values above ``lower`` and up to ``upper``; of equal edges, all lie there."""

    lower: float
    upper: float
    number: float


def quantiles(buckets: Iterable[Bucket], wanted: Sequence[float]) -> tuple[float, ...] | None:
    """The quantiles ``wanted`` (each in 0..1, ascending), or None where nothing was counted."""
    counted = [bucket for bucket in buckets if bucket.number > 0]
    if not counted:
        return None
    pieces = _pieces(counted)
    total = sum(piece.number for piece in pieces)
    found = []
    below, at = 0.0, 0
    for share in wanted:
        target = share * total
        while at < len(pieces) - 1 and below + pieces[at].number < target:
            below += pieces[at].number
            at += 1
        piece = pieces[at]
        within = min(1.0, max(0.0, (target - below) / piece.number))
        found.append(piece.lower + (piece.upper - piece.lower) * within)
    return tuple(found)


def _pieces(buckets: list[Bucket]) -> list[Bucket]:
    """The same distribution as buckets in order that do not overlap."""
    ordered = sorted(buckets)
    if all(left.upper <= right.lower for left, right in pairwise(ordered)):
        return ordered
    ordered = _added(ordered)
    edges = sorted({edge for bucket in ordered for edge in (bucket.lower, bucket.upper)})
    pieces: list[Bucket] = []
    active: list[Bucket] = []
    coming = 0
    for place, edge in enumerate(edges):
        heap = 0.0
        active = [bucket for bucket in active if bucket.upper > edge]
        while coming < len(ordered) and ordered[coming].lower == edge:
            bucket = ordered[coming]
            coming += 1
            if bucket.upper == edge:
                heap += bucket.number
            else:
                active.append(bucket)
        if heap:
            pieces.append(Bucket(edge, edge, heap))
        if active and place + 1 < len(edges):
            width = edges[place + 1] - edge
            density = sum(bucket.number / (bucket.upper - bucket.lower) for bucket in active)
            pieces.append(Bucket(edge, edges[place + 1], density * width))
    return pieces


def _added(ordered: list[Bucket]) -> list[Bucket]:
    """Those of equal edges as one; series of one metric mostly have the same buckets."""
    found: list[Bucket] = []
    for bucket in ordered:
        if found and found[-1][:2] == bucket[:2]:
            found[-1] = Bucket(bucket.lower, bucket.upper, found[-1].number + bucket.number)
        else:
            found.append(bucket)
    return found
