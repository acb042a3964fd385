"""Reports: what a person or a system says has happened, and no metric shows.

A report is a fact and not a command: what follows from it is decided by the compound triggers
that name its kind. Its event's id is its identity; the same report sent twice is one.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, StringConstraints

from schemas.envelope import Component, KindedData

ReportKind = Literal["data_corruption", "security_breach"]


class ReportEvent(KindedData):
    """``component`` is where it was noticed, ``at`` when it was reported, ``reason`` what was seen,
    for everybody who will be told."""

    topic: ClassVar[str] = "reports"

    kind: ReportKind
    component: Component
    at: AwareDatetime
    reported_by: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
