"""Heartbeats of a partition's owner as records of the heartbeats topic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schemas.envelope import Event, make_event
from schemas.heartbeats import Heartbeat
from services.monitor.adapters.trigger_events import SOURCE
from services.monitor.domain.engine.outcomes import utc
from services.monitor.handlers.ports import Beat


@dataclass(frozen=True, slots=True)
class HeartbeatEvents:
    """Makes the events of one process. ``partitions`` is how many the metrics topic has, ``within_s``
    the seconds within which the next heartbeat comes while all is well."""

    instance: str
    partitions: int
    within_s: float

    def event(self, beat: Beat, partition: int, now: datetime) -> tuple[bytes, Event[Heartbeat]]:
        """Key and event; the id is ``heartbeats:partition-<number>/<kind>/<time of writing>``."""
        name = f"partition-{partition}"
        data = Heartbeat(
            kind=beat.kind,
            partition=partition,
            partitions=self.partitions,
            instance=self.instance,
            at=now,
            through=None if beat.through is None else utc(beat.through),
            next_offset=beat.next_offset,
            behind=beat.behind,
            within_s=self.within_s,
        )
        event = make_event(
            data,
            event_id=f"heartbeats:{name}/{beat.kind}/{now.isoformat()}",
            source=f"{SOURCE}/{self.instance}",
            time=now,
            subject=name,
            correlationid=f"heartbeats:{name}",
        )
        return name.encode(), event
