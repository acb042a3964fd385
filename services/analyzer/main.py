"""The analyzer: from the control topics to incidents, and from the evidence to their reports.

triggers, commands, rollbacks, notifications ─▶ stream ─▶ table of open incidents (Faust)
                                                       └▶ store (Postgres) ─▶ outbox ─▶ incidents
incidents (its own closings) ─▶ stream ─▶ closed ─▶ archive ─▶ report
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from chassis.clock import SystemClock
from chassis.consume import received
from chassis.dead_letters import DeadLetters
from chassis.errors import Unreadable, UsageError
from chassis.failpoints import Failpoints
from chassis.kafka import Kafka, Record
from chassis.kafka_admin import ensure_own_topic, ensure_topics
from chassis.lifecycle import Health, kafka_probe, postgres_probe, run_tasks, stop_on_signals
from chassis.outbox import OutboxRelay, SentRows
from chassis.postgres import Pool, migrate, open_pool
from chassis.pruning import Pruner, PruningMetrics
from chassis.settings import AnalyzerSettings, Settings
from chassis.telemetry import new_registry
from services.analyzer.adapters.log import Log
from services.analyzer.adapters.metrics import AnalyzerMetrics
from services.analyzer.adapters.render import render
from services.analyzer.adapters.report_files import ReportFiles, read_file, reports_directory
from services.analyzer.adapters.store import SCHEMA, Store
from services.analyzer.adapters.stream import IncidentStream, StreamRecord
from services.analyzer.domain.closing import ClosingRules
from services.analyzer.domain.document import Report
from services.analyzer.domain.report import build_report
from services.analyzer.handlers.archiving import Archiver
from services.analyzer.handlers.catching_up import CatchUp
from services.analyzer.handlers.closing import Closer
from services.analyzer.handlers.following import Follower
from services.analyzer.handlers.ownership import Ownership
from services.analyzer.handlers.patience import patiently, periodically
from services.analyzer.handlers.reporting import Reporter, records_in_archive, records_in_log
from services.analyzer.handlers.watching import Watcher

SERVICE = "analyzer"
MIGRATIONS = "services.analyzer.adapters.migrations"
log = structlog.get_logger(__name__)
_CLOSE_EVERY_S = 0.5
_ARCHIVE_EVERY_S = 5.0
_REPORT_EVERY_S = 0.5
_WATCH_EVERY_S = 2.0
_FENCED_SESSIONS = 2
"""Sessions of the group in which one that was fenced has to learn that the topics are another's."""


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT."""
    registry = new_registry()
    health = Health(SERVICE, registry)
    async with contextlib.AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_on_signals())
        await stack.enter_async_context(health.serve(settings.http))
        kafka = Kafka.of(settings, SERVICE)
        await kafka.wait_until_reachable()
        health.add("broker", kafka_probe(kafka))
        await ensure_topics(kafka)
        pool = await stack.enter_async_context(open_pool(settings, SERVICE))
        await migrate(pool, SCHEMA, MIGRATIONS)
        health.add("postgres", postgres_probe(pool))
        producer = await stack.enter_async_context(kafka.producer())
        source = await stack.enter_async_context(Log.open(kafka))
        dead_letters = DeadLetters(
            producer,
            topic=kafka.topic("dead-letter"),
            consumer=SERVICE,
            limit=settings.kafka.dead_letters_in_a_row,
        )
        stream = IncidentStream(settings, kafka)
        await ensure_own_topic(
            kafka, stream.changelog_topic, partitions=1, config={"cleanup.policy": "compact"}
        )
        analyzer = _Analyzer(settings, pool, source, stream, dead_letters, AnalyzerMetrics(registry), stop)
        owning = analyzer.owning
        health.add("stream", stream.probe)
        relay = OutboxRelay(pool, analyzer.store.outbox, kafka, producer)
        keep = timedelta(days=settings.postgres.retention_days)
        pruner = Pruner(pool, SCHEMA, [SentRows(SCHEMA)], PruningMetrics(registry), keep=keep)
        await stack.enter_async_context(stream.running(analyzer.handle))
        health.started()
        await run_tasks(
            {
                "stream": stream.failure(stop),
                "outbox": relay.run(stop),
                "pruning": pruner.run(stop),
                "close": periodically(lambda: owning(analyzer.close), _CLOSE_EVERY_S, stop),
                "archive": periodically(lambda: owning(analyzer.archive), _ARCHIVE_EVERY_S, stop),
                "report": periodically(lambda: owning(analyzer.report), _REPORT_EVERY_S, stop),
                "watch": periodically(lambda: owning(analyzer.watcher.look), _WATCH_EVERY_S, stop),
            },
            stop,
            kafka.reach,
        )


class _Analyzer:
    """The parts of one running analyzer, tied together."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        source: Log,
        stream: IncidentStream,
        dead_letters: DeadLetters,
        metrics: AnalyzerMetrics,
        stop: asyncio.Event,
    ) -> None:
        clock = SystemClock()
        failpoints = Failpoints.from_environment()
        rules = closing_rules(settings.analyzer)
        self.store = Store(pool)
        self._stream = stream
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._stop = stop
        self._files = ReportFiles(reports_directory(settings))
        self._archiver = Archiver(
            self.store, source, clock, look_back=timedelta(seconds=settings.analyzer.look_back_s)
        )
        self._follower = Follower(
            stream.incidents, self.store, rules, clock, failpoints, on_open=self._archiver.begin
        )
        self._closer = Closer(
            stream.incidents,
            self.store,
            source,
            self._archiver,
            rules,
            clock,
            forget=self._follower.forget,
        )
        self._ownership = Ownership(
            clock,
            generation=lambda: stream.generation,
            take_over=lambda: self._follower.take_over(settings.instance),
            patience_s=_FENCED_SESSIONS * settings.kafka.session_timeout_ms / 1_000,
        )
        self._delivered = 0
        self._catch_up = CatchUp(source, self.store, hand_over=self._recover)
        self.watcher = Watcher(source, self.store, hand_over=self._recover, delivered=lambda: self._delivered)
        self._reporter = Reporter(self.store, source, self._archiver, failpoints, publish=self._publish)

    async def handle(self, record: StreamRecord) -> bool:
        """One record of the stream; whether it was handled, by us as their owner.

        Whatever this raises, the record is not acknowledged.
        """
        handled = await patiently(
            lambda: self._ownership.do(record.generation, lambda: self._handle_in_order(record)), self._stop
        )
        self._delivered += handled
        return handled

    async def _handle_in_order(self, record: StreamRecord) -> None:
        await self._catch_up.before(record, record.generation)
        await self._handle(record)
        self._catch_up.handled(record)

    async def _recover(self, record: Record) -> None:
        """One record that the stream has passed over."""
        log.warning("the stream passed a record over", topic=record.topic, offset=record.offset)
        await self._handle(record)
        self._metrics.recovered.labels(record.topic).inc()

    async def _handle(self, record: Record) -> None:
        try:
            await self._follower.handle(received(record))
        except Unreadable as error:
            await self._dead_letters.put(record, reason=error.reason, error=str(error))
            await self.store.save_progress(record.topic, record.partition, record.offset)
            self._metrics.dead_letters.inc()
        else:
            self._dead_letters.good()
        self._metrics.events.labels(record.topic).inc()

    async def owning(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` if this instance owns the topics: only it has the table."""
        if self._stream.active():
            await self._ownership.do(self._stream.generation, work)

    async def close(self) -> None:
        """Look whether an incident may be closed."""
        incidents = self._stream.incidents.all().values()
        self._metrics.open_incidents.set(sum(incident.opened for incident in incidents))
        await self._closer.look()

    async def archive(self) -> None:
        """Archive what has come of the evidence of open incidents."""
        for incident in self._stream.incidents.all().values():
            if incident.opened:
                await self._archiver.archive(incident)

    async def report(self) -> None:
        """Make the reports that are still to be made."""
        self._metrics.reports.inc(await self._reporter.look())

    def _publish(self, report: Report) -> tuple[str, str]:
        rendered = render(report)
        directory = self._files.write(report.incident_id, rendered)
        return rendered.sha256, str(directory)


@dataclass(frozen=True, slots=True)
class Replayed:
    """A report that was made again; ``identical`` says for each stored file whether it is the same
    byte for byte (False for one that is missing)."""

    incident_id: str
    sha256: str
    stored_sha256: str
    identical: dict[str, bool]

    @property
    def is_identical(self) -> bool:
        return self.sha256 == self.stored_sha256 and all(self.identical.values())


async def replay(settings: Settings, pool: Pool, incident_id: str, *, from_log: bool) -> Replayed:
    """Make a closed incident's report again, from the log's frozen ranges or from the archive.

    Nothing is written. Raises UsageError if the incident has no report yet, LogGone if the log no
    longer holds its ranges.
    """
    store = Store(pool)
    stored = await store.report_of(incident_id)
    if stored is None:
        raise UsageError(f"{incident_id} has no report yet: it is written when the incident is closed")
    closing, stored_sha256, directory = stored
    async with Log.open(Kafka.of(settings, "replay")) as source:
        if from_log:
            records = await records_in_log(source, closing)
        else:
            records = await records_in_archive(store, source, closing)
    rendered = render(build_report(closing, records))
    identical = {
        name: read_file(Path(directory) / name) == content for name, content in rendered.files().items()
    }
    return Replayed(incident_id, rendered.sha256, stored_sha256, identical)


def closing_rules(settings: AnalyzerSettings) -> ClosingRules:
    """The rules of these settings."""
    return ClosingRules(
        settle=timedelta(seconds=settings.settle_s), close_after=timedelta(seconds=settings.close_after_s)
    )
