"""What there is to tell of predictive alerts, as events of the predictions topic."""

from __future__ import annotations

from datetime import UTC, datetime

from schemas.envelope import Event, make_event
from schemas.predictions import PastPredictions, PredictionEvent, PredictionEvidence
from services.monitor.adapters.trigger_events import SOURCE
from services.monitor.domain.prediction.raised import Told
from services.monitor.domain.prediction.waiting import BINS


def prediction_event(told: Told, metrics_topic: str, partition: int, now: datetime) -> Event[PredictionEvent]:
    """The event; its id is ``<prediction_id>/<kind>``. ``metrics_topic`` and ``partition`` are where the
    samples are that it was made from."""
    alert, raised, prediction_id = told.alert, told.raised, told.prediction_id
    tenth = min(int(raised.probability * BINS), BINS - 1)
    data = PredictionEvent(
        kind=told.kind,
        prediction_id=prediction_id,
        model=alert.model,
        component=told.of.component,
        group=told.of.as_mapping(),
        metric=alert.metric,
        condition=str(alert.breach),
        threshold=alert.breach.threshold,
        probability=raised.probability,
        confidence=alert.confidence,
        horizon_s=alert.horizon,
        value=raised.value,
        raised_at=_utc(raised.at),
        until=_utc(raised.until),
        at=_utc(told.at),
        value_now=told.value,
        probability_now=told.probability,
        why=told.why,
        past=PastPredictions(
            low=tenth / BINS,
            high=(tenth + 1) / BINS,
            answered=raised.answered,
            came_true=raised.came_true,
        ),
        evidence=PredictionEvidence(
            topic=metrics_topic,
            partition=partition,
            first_offset=raised.first_offset,
            last_offset=raised.last_offset,
            samples=raised.samples,
        ),
    )
    return make_event(
        data,
        event_id=f"{prediction_id}/{told.kind}",
        source=SOURCE,
        time=now,
        subject=told.of.component,
        correlationid=prediction_id,
    )


def _utc(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)
