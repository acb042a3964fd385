"""Predictions in the hands of a partition's owner: recalled beside the triggers, computed in steps.

Triggers wait neither for predictions that are recalled nor for thousands that are due at once. What
comes meanwhile waits in a queue; only where that gets too long does reading wait. Nothing is written
of predictions while records wait for them: what is written with a checkpoint is always what follows
from all records before it, or, as long as they are being recalled, what was written before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine

import structlog

from chassis.clock import Clock
from services.monitor.domain.engine.prediction_checkpoint import PredictionCheckpoint
from services.monitor.domain.measuring.columns import Columns
from services.monitor.domain.prediction.followed import MAX_SERIES, FollowedAlert
from services.monitor.domain.prediction.portions import Feed, Portion
from services.monitor.domain.prediction.predictions import Predictions
from services.monitor.handlers.ports import Decided, Meter

log = structlog.get_logger(__name__)

STATES_EVERY_S = 2.0
"""How often records of series are written, in seconds of work."""
STATES_AT_ONCE = 100
"""So many: some 900 KiB."""
_LONGEST_QUEUE = 500_000
"""Samples; reading waits beyond it."""


class PredictionWork:
    """Follows one partition. ``recalled`` is what the checkpoint said; ``recall`` brings the predictions
    from there to the next record."""

    def __init__(
        self,
        number: int,
        predictions: Predictions,
        feed: Feed,
        meter: Meter,
        clock: Clock,
        *,
        recalled: PredictionCheckpoint,
        recall: Coroutine[None, None, None],
    ) -> None:
        self._number = number
        self._predictions = predictions
        self._feed = feed
        self._meter = meter
        self._clock = clock
        self._checkpoint = recalled
        self._complained: set[str] = set()
        self._queue: deque[Portion] = deque()
        self._waiting = 0
        self._at_work = asyncio.Lock()
        self._written_at = clock.monotonic()
        self._recalling: asyncio.Task[None] | None = asyncio.create_task(recall, name=f"recall {number}")

    def take(self, columns: Columns) -> None:
        """Queue the next records of the log."""
        portion = self._feed.portion(columns)
        self._queue.append(portion)
        self._waiting += portion.samples

    async def catch_up(self) -> None:
        """Compute what waits, and let others run in between. Raises what recalling raised."""
        if self._recalling is not None:
            if not self._recalling.done() and self._waiting < _LONGEST_QUEUE:
                return
            await self._recalling
            self._recalling = None
        async with self._at_work:
            while self._queue:
                portion = self._queue.popleft()
                self._waiting -= portion.samples
                for _ in self._predictions.fold(portion):
                    await asyncio.sleep(0)

    @property
    def is_recalling(self) -> bool:
        return self._recalling is not None

    @property
    def has_news(self) -> bool:
        return not self.is_recalling and not self._queue and self._predictions.has_news

    def collect(self, decided: Decided) -> PredictionCheckpoint:
        """Add what is to be written now, and where a restart would begin; after ``catch_up``."""
        if self.is_recalling:
            return self._checkpoint
        decided.predictions = self._predictions.news()
        now = self._clock.monotonic()
        states = self._predictions.changes()
        if now - self._written_at >= STATES_EVERY_S:
            states.update(self._predictions.overdue(STATES_AT_ONCE))
            self._written_at = now
        decided.prediction_states = states
        self._checkpoint = self._predictions.checkpoint()
        for alert in self._predictions.alerts:
            self._count(alert)
        return self._checkpoint

    async def close(self) -> None:
        if self._recalling is not None:
            self._recalling.cancel()
            await asyncio.gather(self._recalling, return_exceptions=True)

    def _count(self, alert: FollowedAlert) -> None:
        model, track = alert.alert.model, alert.take_track_record()
        self._meter.predicted(self._number, model, track, is_open=alert.open, series=len(alert))
        if alert.refused and model not in self._complained:
            self._complained.add(model)
            log.warning(
                "too many groups: the further ones are not predicted",
                partition=self._number,
                model=model,
                at_most=MAX_SERIES,
            )
