"""Breakers: what the monitor decided about a component's circuit breaker, and that it still decides.

The topic is compacted. A decision's key is its component, so the topic holds the latest of each;
a record without a value says that the component has no breaker any more. ``alive`` has the key
``alive/<partition>`` (no component's name holds a slash): it comes every few seconds while the
partition's owner evaluates. A decision whose partition gives no sign of life is not to be
relied on.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.envelope import Component, KindedData

BreakerStateName = Literal["closed", "open", "half_open"]


class FailedCheck(BaseModel):
    """A check that failed since the breaker opened: its value then (None: no data, which counted as
    a breach), the number compared with, the whole condition in words, and since when it breached."""

    model_config = ConfigDict(extra="ignore", frozen=True, ser_json_inf_nan="null")

    check: str
    metric: str
    value: float | None
    threshold: float
    condition: str
    since: AwareDatetime


class BreakerDecision(KindedData):
    """The state of a breaker from second ``at`` on.

    ``since`` is when it entered the state, ``until`` when an open one begins to probe.
    ``fallback`` is what to do instead (None: closed), ``probe_share`` the part of the calls that a
    half-open one lets through. ``failed`` are the reasons; ``reopened`` counts how often the time
    open was doubled. ``partition`` is that of the metrics topic, whose owner decided.
    """

    topic: ClassVar[str] = "breakers"

    kind: BreakerStateName
    component: Component
    at: AwareDatetime
    since: AwareDatetime
    until: AwareDatetime | None
    before: BreakerStateName | None
    reason: str
    why: str
    fallback: str | None
    failed: tuple[FailedCheck, ...]
    probe_share: float = Field(gt=0, le=1)
    reopened: int = Field(ge=0)
    partition: int = Field(ge=0)


class BreakerAlive(KindedData):
    """The owner of ``partition`` has evaluated every second up to ``through``."""

    topic: ClassVar[str] = "breakers"

    kind: Literal["alive"]
    partition: int = Field(ge=0)
    through: AwareDatetime
