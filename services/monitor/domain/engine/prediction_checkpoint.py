"""How far the predictions of a partition have come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PredictionCheckpoint:
    """How far predictions have come: all that follows from records before ``next_offset`` has been
    told. ``replay_from`` is the first record that some series' record lacks, and ``replay_second``
    the watermark before it (None: there was none). ``began`` has, for each definition, the offset
    from which on it counts samples. ``fresh``: no record of a series has been written since; those
    that there are belong to a former life of the topics."""

    next_offset: int
    replay_from: int
    replay_second: float | None
    began: dict[str, int]
    fresh: bool = False
