"""Make the report of each closed incident: fill the archive from the log, then read only that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from chassis.errors import PermanentError
from chassis.failpoints import Failpoints
from chassis.kafka import TopicPartition
from schemas.incidents import IncidentEvent
from services.analyzer.domain.document import Report
from services.analyzer.domain.evidence import CONTROL_TOPICS, EvidenceRecord, may_be_of, select
from services.analyzer.domain.report import build_report
from services.analyzer.handlers.archiving import Archiver
from services.analyzer.handlers.patience import PASSING
from services.analyzer.handlers.ports import EvidenceStore, Log

log = structlog.get_logger(__name__)


class LogGone(PermanentError):
    """The log does not hold all of an incident's ranges any more: replay from the archive."""


async def records_in_log(source: Log, closing: IncidentEvent) -> list[EvidenceRecord]:
    """The evidence in the frozen ranges of the log; raises LogGone where retention was faster."""
    partitions = [TopicPartition(one.topic, one.partition) for one in closing.ranges]
    begins = await source.begins(partitions)
    found: list[EvidenceRecord] = []
    for one, partition in zip(closing.ranges, partitions, strict=True):
        if one.last >= one.first and begins[partition] > one.first:
            raise LogGone(
                f"{one.topic}[{one.partition}] begins at offset {begins[partition]}, the report's range "
                f"at {one.first}: use --from archive"
            )
        found.extend(await source.read(partition, one.first, one.last, keep=partial(may_be_of, closing)))
    return select(closing, found)


async def records_in_archive(
    store: EvidenceStore, source: Log, closing: IncidentEvent
) -> list[EvidenceRecord]:
    """The evidence in the frozen ranges of the archive."""
    found: list[EvidenceRecord] = []
    for one in closing.ranges:
        kind = source.kind_of(one.topic)
        place = (one.topic, one.partition, one.first, one.last)
        found.extend(await store.archived_between(closing.incident_id, kind, *place))
    return select(closing, found)


class Reporter:
    """Makes the reports that are still to be made; a crash in between loses none."""

    def __init__(
        self,
        store: EvidenceStore,
        source: Log,
        archiver: Archiver,
        failpoints: Failpoints,
        *,
        publish: Callable[[Report], tuple[str, str]],
    ) -> None:
        """``publish`` writes a report's files and returns (sha256, directory)."""
        self._store = store
        self._log = source
        self._archiver = archiver
        self._failpoints = failpoints
        self._publish = publish
        self._given_up: set[str] = set()
        self._tries = 0
        self._tried: dict[str, int] = {}

    async def look(self) -> int:
        """Make what is to be made; returns how many reports that were."""
        made = 0
        for closing in sorted(await self._store.unreported(), key=self._last_tried):
            if closing.incident_id not in self._given_up:
                self._tries += 1
                self._tried[closing.incident_id] = self._tries
                made += await self._try(closing)
                del self._tried[closing.incident_id]
        return made

    def _last_tried(self, closing: IncidentEvent) -> int:
        """Those that were never tried come first, and a report that a peer's absence keeps from
        being made comes after all others."""
        return self._tried.get(closing.incident_id, 0)

    async def _try(self, closing: IncidentEvent) -> bool:
        """One report that cannot be made must not keep others from being made, or incidents from
        being closed: it is told of, and tried again when the service starts again."""
        try:
            await self._report(closing)
        except PASSING:
            raise
        except Exception as error:
            self._given_up.add(closing.incident_id)
            log.exception("a report cannot be made", incident=closing.incident_id)
            await self._store.report_failed(closing.incident_id, f"{type(error).__name__}: {error}")
            return False
        return True

    async def _report(self, closing: IncidentEvent) -> None:
        await self._fill(closing)
        self._failpoints.reach("analyzer.after-archive")
        records = await records_in_archive(self._store, self._log, closing)
        # Much evidence takes seconds of computing; the stream and the health checks go on meanwhile.
        report = await asyncio.to_thread(build_report, closing, records)
        sha256, directory = await asyncio.to_thread(self._publish, report)
        self._failpoints.reach("analyzer.after-report")
        await self._store.save_report(closing.incident_id, sha256, directory)
        log.info("report written", incident=closing.incident_id, directory=directory, sha256=sha256)

    async def _fill(self, closing: IncidentEvent) -> None:
        """Archive what the frozen ranges hold and the archive does not yet."""
        archived = await self._store.archiving(closing.incident_id)
        control: list[EvidenceRecord] = []
        for one in closing.ranges:
            if self._log.kind_of(one.topic) in CONTROL_TOPICS:
                partition = TopicPartition(one.topic, one.partition)
                control.extend(await self._log.read(partition, one.first, one.last))
                continue
            for part in archived:
                if (part.topic, part.partition) == (one.topic, one.partition):
                    await self._archiver.archive_to(closing.incident_id, part, one.last)
                    # Where components share a partition, the range begins with the first of them.
                    gap = replace(part, next_offset=one.first)
                    await self._archiver.archive_to(closing.incident_id, gap, part.first - 1)
        await self._store.archive(closing.incident_id, select(closing, control))
