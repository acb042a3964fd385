"""Keep an open incident's metrics and logs, look-back included, before retention deletes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import structlog

from chassis.clock import Clock
from chassis.kafka import TopicPartition
from services.analyzer.domain.evidence import LONGEST, Archiving, EvidenceRecord, concerns
from services.analyzer.domain.facts import TriggerFact
from services.analyzer.domain.incident import Incident
from services.analyzer.handlers.ports import EvidenceStore, Log

log = structlog.get_logger(__name__)
_CHUNK = 50_000
"""Offsets that are read before what they held is stored: a crash repeats no more than this."""
_CHUNK_BYTES = 16 * 1024 * 1024
"""What is read is stored, too, once it takes so much memory: records may be large."""


class Archiver:
    """Copies evidence from the log into the archive; each look continues where the last ended."""

    def __init__(self, store: EvidenceStore, source: Log, clock: Clock, *, look_back: timedelta) -> None:
        self._store = store
        self._log = source
        self._clock = clock
        self._look_back = look_back

    async def begin(self, incident: Incident) -> list[Archiving]:
        """Fix where the evidence begins, for every component that is known by now."""
        begun = {
            (one.component, one.topic, one.partition) for one in await self._store.archiving(incident.id)
        }
        since = incident.began - self._look_back
        for component in incident.components:
            for partition in self._partitions(incident, component):
                if (component, *partition) in begun:
                    continue
                first = await self._log.first_at(partition, since)
                await self._store.begin_archiving(incident.id, component, *partition, first)
        return await self._store.archiving(incident.id)

    def _partitions(self, incident: Incident, component: str) -> list[TopicPartition]:
        """Where the component's metrics and logs are: by its key, and by the triggers' evidence."""
        evidence = {
            self._log.metrics(fact.partition)
            for fact in incident.of(TriggerFact)
            if fact.component == component and fact.partition is not None
        }
        return [*sorted(evidence | {self._log.metrics_partition(component)}), self._log.logs]

    async def archive(self, incident: Incident) -> None:
        """Archive what has come since the last look."""
        begun = await self.begin(incident)
        ends = await self.ends(incident, {TopicPartition(one.topic, one.partition) for one in begun})
        for one in begun:
            await self.archive_to(incident.id, one, ends[TopicPartition(one.topic, one.partition)] - 1)

    async def ends(
        self, incident: Incident, partitions: Collection[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Where the evidence of an incident ends by now: at the log's end, or ``LONGEST`` after it began."""
        ends = await self._log.ends(partitions)
        limit = incident.began + LONGEST
        if self._clock.now() > limit:
            return {part: min(end, await self._log.first_at(part, limit)) for part, end in ends.items()}
        return ends

    async def archive_to(self, incident_id: str, one: Archiving, last: int) -> None:
        """Archive one component's records of one partition up to ``last``."""

        def keep(record: EvidenceRecord) -> bool:
            return concerns(record, one.component)

        partition = TopicPartition(one.topic, one.partition)
        if one.next_offset <= last:
            begin = (await self._log.begins([partition]))[partition]
            if begin > one.next_offset:
                log.warning(
                    "retention deleted evidence before it was archived",
                    incident=incident_id,
                    topic=one.topic,
                    partition=one.partition,
                    first=one.next_offset,
                    last=min(begin - 1, last),
                )
        while one.next_offset <= last:
            upto = min(last, one.next_offset + _CHUNK - 1)
            records, next_offset = await self._log.read_portion(
                partition, one.next_offset, upto, keep=keep, max_bytes=_CHUNK_BYTES
            )
            one = replace(one, next_offset=next_offset)
            await self._store.archive(incident_id, records, one)
