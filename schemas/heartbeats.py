"""Heartbeats: a partition of the metrics topic is still evaluated, and by whom.

Silence tells that triggers are not evaluated any more; so what a heartbeat says must be true of
the work, not of the process. It is written in the transaction of the partition's owner, which
nobody else can commit, and says how far the evaluation has come: one that stands still is no sign
of life, however often it is repeated.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from schemas.envelope import KindedData

HeartbeatKind = Literal["evaluating", "released"]


class Heartbeat(KindedData):
    """How far the owner of ``partition`` has evaluated it.

    ``through`` is the last second evaluated (None: the partition has shown no sample yet),
    ``next_offset`` the record to read next, ``behind`` how many offsets are left to its end.
    ``partitions`` is how many the metrics topic has: each of them is to be heard of. While all is
    well the next one comes within ``within_s`` seconds. ``released`` is the last of an owner that
    has let go in good order: the next owner is to be heard of soon.
    """

    topic: ClassVar[str] = "heartbeats"

    kind: HeartbeatKind
    partition: int = Field(ge=0)
    partitions: int = Field(ge=1)
    instance: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    at: AwareDatetime
    through: AwareDatetime | None
    next_offset: int = Field(ge=0)
    behind: int = Field(ge=0)
    within_s: float = Field(gt=0)
