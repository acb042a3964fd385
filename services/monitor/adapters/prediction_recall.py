"""Recalling predictions: the records of the series, and the metrics again from where those end.

It goes on beside the triggers, which do not wait for it.
"""

from __future__ import annotations

import asyncio

import msgspec
import structlog

from chassis.errors import PermanentError
from chassis.kafka import Kafka, Record, TopicPartition
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.prediction_checkpoint import PredictionCheckpoint
from services.monitor.domain.prediction.memory import read_remembered
from services.monitor.domain.prediction.predictions import Predictions

log = structlog.get_logger(__name__)
_RECORDS_AT_ONCE, _REMEMBERED_AT_ONCE = 2_000, 100
"""How much is done before others may run."""


async def recall_predictions(
    kafka: Kafka, number: int, predictions: Predictions, recalled: PredictionCheckpoint, next_offset: int
) -> None:
    """Bring the predictions of a partition from what is remembered to ``next_offset``."""
    anew = predictions.recall(recalled)
    if anew and not recalled.fresh:
        log.info("predictions begin anew: the definition is new", partition=number, models=anew)
    remembered = await _recall_remembered(kafka, number, predictions)
    replayed = await _replay(kafka, number, predictions, recalled.replay_from, next_offset)
    log.info("predictions recalled", partition=number, remembered=remembered, replayed=replayed)


async def _recall_remembered(kafka: Kafka, number: int, predictions: Predictions) -> int:
    place = TopicPartition(kafka.topic("prediction-states"), number)
    stored = await read_prediction_states(kafka, number)
    for index, record in enumerate(stored):
        try:
            predictions.recall_one(read_remembered(record.key or b"", record.value or b""))
        except (ValueError, msgspec.DecodeError) as error:
            raise PermanentError(
                f"{place.topic}[{number}] at offset {record.offset}: the state {record.key!r} cannot be read "
                f"({error}). Use the version of backout that wrote it, or delete and create {place.topic}: "
                "predictions then begin anew"
            ) from error
        if index % _REMEMBERED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return len(stored)


async def read_prediction_states(kafka: Kafka, number: int) -> list[Record]:
    """The newest record of each series, and of each open alert, of a partition."""
    place = TopicPartition(kafka.topic("prediction-states"), number)
    latest: dict[bytes, Record] = {}
    async with kafka.reader(place) as reader:
        end = (await reader.end_offsets([place]))[place]
        reader.seek(place, (await reader.beginning_offsets([place]))[place])
        while await reader.position(place) < end:
            for record in (await reader.getmany(timeout_ms=200)).get(place, ()):
                latest.pop(record.key or b"", None)
                if record.value is not None:
                    latest[record.key or b""] = record
    return list(latest.values())


async def _replay(kafka: Kafka, number: int, predictions: Predictions, first: int, end: int) -> int:
    """Fold in the records from ``first`` on again; how many there were."""
    place = TopicPartition(kafka.topic("metrics"), number)
    if first >= end:
        return 0
    series = predictions.series_to_replay()
    intake, feed, count = Intake(series), predictions.feed(series), 0
    async with kafka.reader(place) as reader:
        begin = (await reader.beginning_offsets([place]))[place]
        if begin > first:
            log.warning(
                "retention has removed samples that predictions still need",
                partition=number,
                needed_from=first,
                kept_from=begin,
            )
        reader.seek(place, max(first, begin))
        while await reader.position(place) < end:
            fetched = await reader.getmany(timeout_ms=200, max_records=_RECORDS_AT_ONCE)
            records = [record for record in fetched.get(place, ()) if record.offset < end]
            for _ in predictions.fold(feed.portion(intake.read(records).columns)):
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            count += len(records)
    return count
