"""Predictions: alerts that a metric will probably breach its threshold, and how each of them ended.

They have a topic of their own because they are no triggers: nothing has breached yet, and whoever
rolls back reads the triggers. A prediction never rolls anything back.

An alert is ``raised`` when the probability reaches the configured confidence, and ends once, at
``until`` at the latest: it ``came_true`` or did ``not_come_true``; it was ``withdrawn``, because a
later probability was below half of the confidence; ``no_data``, because no sample came that could
tell; or ``superseded``, because its definition or the model was changed. Each event about it has
the id ``<prediction_id>/<kind>``, so that reading or emitting one twice changes nothing.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.envelope import Component, EventId, KindedData

PredictionKind = Literal["raised", "came_true", "not_come_true", "withdrawn", "no_data", "superseded"]
Probability = Annotated[float, Field(ge=0, le=1)]


class PredictionEvidence(BaseModel):
    """What a prediction was made from: the series' samples on one partition of the metrics topic, the
    last of which made it. The offsets between them belong to other series, too."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    topic: str
    partition: int = Field(ge=0)
    first_offset: int
    last_offset: int
    samples: int


class PastPredictions(BaseModel):
    """How earlier predictions of the same series that said about as much have come true: of those
    between the probabilities ``low`` and ``high`` whose window was over, ``answered`` in all."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    low: Probability
    high: Probability
    answered: int = Field(ge=0)
    came_true: int = Field(ge=0)


class PredictionEvent(KindedData):
    """The predictive alert ``model`` on one group.

    ``probability`` is that of a breach (``condition``, the ``metric`` compared with ``threshold``)
    between ``raised_at`` and ``until``, ``horizon_s`` later, as it was when the alert was raised, with
    the ``value`` then; ``confidence`` is what it had to reach. It is calibrated: of the predictions
    that say 0.8, about eight in ten come true; ``past`` says how it was for this series. ``at`` is
    when this happened in event time; ``value_now`` and ``probability_now`` are the newest, None where
    time alone ended the alert or no probability was computed.
    """

    topic: ClassVar[str] = "predictions"

    kind: PredictionKind
    prediction_id: EventId
    model: str
    component: Component
    group: dict[str, str]
    metric: str
    condition: str
    threshold: float
    probability: Probability
    confidence: Probability
    horizon_s: int = Field(gt=0)
    value: float
    raised_at: AwareDatetime
    until: AwareDatetime
    at: AwareDatetime
    value_now: float | None
    probability_now: Probability | None
    why: str
    past: PastPredictions
    evidence: PredictionEvidence
