"""Close incidents when their time has come.

The decision is published, not carried out: the closing event comes back on the stream, and the
first one by offset has effect. It is taken only when the control topics have been read to the
ends that it freezes, so that no event within its ranges is unknown to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from chassis.clock import Clock
from chassis.kafka import TopicPartition
from schemas.incidents import OffsetRange
from services.analyzer.domain import announcements
from services.analyzer.domain.closing import Assessment, ClosingRules, assess
from services.analyzer.domain.incident import Incident
from services.analyzer.handlers.archiving import Archiver
from services.analyzer.handlers.ports import ClosingStore, Log, OpenIncidents


class Closer:
    """Looks at every open incident, again and again."""

    def __init__(
        self,
        incidents: OpenIncidents,
        store: ClosingStore,
        source: Log,
        archiver: Archiver,
        rules: ClosingRules,
        clock: Clock,
        *,
        forget: Callable[[Incident], Awaitable[None]],
    ) -> None:
        """``forget`` drops what never opened."""
        self._incidents = incidents
        self._store = store
        self._log = source
        self._archiver = archiver
        self._rules = rules
        self._clock = clock
        self._forget = forget
        self._noted: dict[str, Assessment] = {}

    async def look(self) -> None:
        """Close what may be closed; note of the others what they wait for."""
        incidents = self._incidents.all()
        self._noted = {one: noted for one, noted in self._noted.items() if one in incidents}
        for incident in incidents.values():
            assessment = assess(incident, self._clock.now(), self._rules)
            if assessment.closable:
                await self._close(incident.id)
            elif self._noted.get(incident.id) != assessment:
                await self._store.note_waiting(incident.id, assessment)
                self._noted[incident.id] = assessment

    async def _close(self, incident_id: str) -> None:
        control = [TopicPartition(topic, 0) for topic in self._log.control_topics]
        ends = await self._log.ends(control)
        if not await self._is_read_to(ends):
            return
        incident = self._incidents.all().get(incident_id)
        if incident is None:
            return
        # What came while the ends were asked for may have changed the answer.
        assessment = assess(incident, self._clock.now(), self._rules)
        if assessment.closable and not incident.opened:
            await self._forget(incident)
        elif assessment.closable:
            ranges = [*await self._control_ranges(incident, ends), *await self._evidence_ranges(incident)]
            event = announcements.closed(incident, assessment, ranges, now=self._clock.now())
            await self._store.announce(event)

    async def _is_read_to(self, ends: Mapping[TopicPartition, int]) -> bool:
        progress = await self._store.progress(partition.topic for partition in ends)
        for partition, end in ends.items():
            if not await self._log.is_read_to(partition, progress[partition.topic], end):
                return False
        return True

    async def _control_ranges(
        self, incident: Incident, ends: Mapping[TopicPartition, int]
    ) -> list[OffsetRange]:
        first = await self._store.first_archived(incident.id, [part.topic for part in ends])
        return [
            OffsetRange(topic=part.topic, partition=part.partition, first=first[part.topic], last=end - 1)
            for part, end in ends.items()
            if part.topic in first
        ]

    async def _evidence_ranges(self, incident: Incident) -> list[OffsetRange]:
        """One range a partition, though several components may share it."""
        firsts: dict[TopicPartition, int] = {}
        for one in await self._archiver.begin(incident):
            partition = TopicPartition(one.topic, one.partition)
            firsts[partition] = min(one.first, firsts.get(partition, one.first))
        ends = await self._archiver.ends(incident, firsts)
        return [
            OffsetRange(topic=part.topic, partition=part.partition, first=first, last=ends[part] - 1)
            for part, first in sorted(firsts.items())
        ]
