"""The notifier: rollback events in, messages to people out, each delivery journaled.

backout.rollbacks.v1  ─▶ Announcer ─────▶ journal (Postgres) ─▶ Workers ─▶ Slack, mail, status page
backout.heartbeats.v1 ─▶ EvaluationWatch ───────┤
                                          └─▶ outbox ─▶ backout.notifications.v1
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from datetime import timedelta

import structlog

from chassis.clock import SystemClock
from chassis.consume import consume_events
from chassis.dead_letters import DeadLetters
from chassis.failpoints import Failpoints
from chassis.inbox import OldInboxRows
from chassis.kafka import Consumer, Kafka, Producer
from chassis.lifecycle import (
    Health,
    Probe,
    consumer_probe,
    kafka_probe,
    postgres_probe,
    run_tasks,
    stop_on_signals,
    wait_for_topics,
)
from chassis.outbox import OutboxRelay, SentRows
from chassis.postgres import UNAVAILABLE, Pool, migrate, open_pool
from chassis.pruning import Pruner, PruningMetrics
from chassis.settings import NotifierSettings, Settings
from chassis.telemetry import new_registry
from schemas.notifications import Channel as ChannelName
from services.notifier.adapters.config_files import (
    PLAN_FILE,
    RECEIVERS_FILE,
    check_settings,
    load_plan,
    load_receivers,
)
from services.notifier.adapters.evaluation_store import PostgresEvaluation
from services.notifier.adapters.http_session import session_for
from services.notifier.adapters.journal import MIGRATIONS, RENEWAL_S, SCHEMA, PostgresJournal
from services.notifier.adapters.metrics import NotifierMetrics
from services.notifier.adapters.pruning import OldDeliveries
from services.notifier.adapters.slack import SlackChannel
from services.notifier.adapters.smtp import SmtpChannel
from services.notifier.adapters.status_page import StatusPageChannel
from services.notifier.domain.announcements import Delivery
from services.notifier.domain.entry import Entry, Settlement
from services.notifier.domain.plan import CommunicationPlan, Receiver
from services.notifier.handlers.announce import Announcer
from services.notifier.handlers.deliver import Worker
from services.notifier.handlers.ports import Channel
from services.notifier.handlers.watch_evaluation import EvaluationWatch

SERVICE = "notifier"
log = structlog.get_logger(__name__)
_KEEPING_WAIT_S = 0.5


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError(s) for a wrong plan, map or setting."""
    check_settings(settings.notifier)
    plan = load_plan(settings.config_dir / PLAN_FILE)
    receivers = load_receivers(settings.config_dir / RECEIVERS_FILE, plan, settings.notifier)
    for receiver in receivers.values():
        if receiver.not_configured:
            log.warning("receiver not configured", receiver=receiver.name, reason=receiver.not_configured)
    registry = new_registry()
    health = Health(SERVICE, registry)
    async with contextlib.AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_on_signals())
        await stack.enter_async_context(health.serve(settings.http))
        kafka = Kafka.of(settings, SERVICE)
        await kafka.wait_until_reachable()
        health.add("broker", kafka_probe(kafka))
        pool = await stack.enter_async_context(open_pool(settings, SERVICE))
        await migrate(pool, SCHEMA, MIGRATIONS)
        channels = await _channels(stack, settings.notifier)
        notifier = _Notifier(settings, pool, plan, receivers, channels, NotifierMetrics(registry), stop)
        await notifier.take_over()
        await wait_for_topics(kafka, health, ("rollbacks", "heartbeats", "notifications"))
        producer = await stack.enter_async_context(kafka.producer())
        consumer = await stack.enter_async_context(
            kafka.consumer(kafka.topic("rollbacks"), group=kafka.group(SERVICE), instance=settings.instance)
        )
        dead_letters = _dead_letters(settings, kafka, producer)
        group = kafka.group(f"{SERVICE}-heartbeats")
        heartbeats = await stack.enter_async_context(
            kafka.consumer(kafka.topic("heartbeats"), group=group, instance=settings.instance)
        )
        watch = notifier.evaluation_watch(heartbeats)
        health.add("postgres", postgres_probe(pool))
        health.add("kafka", consumer_probe(consumer))
        health.add("heartbeats", _heartbeats_probe(heartbeats, kafka.topic("heartbeats")))
        relay = OutboxRelay(pool, notifier.journal.outbox, kafka, producer)
        pruner = Pruner(
            pool,
            SCHEMA,
            [OldInboxRows(SCHEMA, kafka.topic("rollbacks"), consumer), SentRows(SCHEMA), OldDeliveries()],
            PruningMetrics(registry),
            keep=timedelta(days=settings.postgres.retention_days),
        )
        health.started()
        await run_tasks(
            {
                "consume": consume_events(consumer, notifier.announcer.handle, dead_letters, stop=stop),
                "watch the monitor": consume_events(
                    heartbeats,
                    watch.handle,
                    _dead_letters(settings, kafka, producer),
                    stop=stop,
                    after_batch=watch.after_batch,
                ),
                "outbox": relay.run(stop),
                "claims": notifier.keep_claims(),
                "pruning": pruner.run(stop),
                **{f"deliver to {name}": worker.run(stop) for name, worker in notifier.workers.items()},
            },
            stop,
            kafka.reach,
        )


def _dead_letters(settings: Settings, kafka: Kafka, producer: Producer) -> DeadLetters:
    limit = settings.kafka.dead_letters_in_a_row
    return DeadLetters(producer, topic=kafka.topic("dead-letter"), consumer=SERVICE, limit=limit)


def _heartbeats_probe(consumer: Consumer, topic: str) -> Probe:
    """Heartbeats are read here, or by another notifier; without the topic they would be by none."""
    polls = consumer_probe(consumer, needs_partitions=False)

    async def probe() -> str | None:
        if not consumer.partitions_for(topic):
            return f"there is no topic {topic}. Run `backout topics init`"
        return await polls()

    return probe


async def _channels(
    stack: contextlib.AsyncExitStack, settings: NotifierSettings
) -> Mapping[ChannelName, Channel]:
    """A channel for each kind of receiver whose settings are there."""
    channels: dict[ChannelName, Channel] = {}
    if settings.slack.token is not None:
        session = await stack.enter_async_context(session_for(settings.slack.timeout_s))
        channels["slack"] = SlackChannel(settings.slack, settings.slack.token.get_secret_value(), session)
    if settings.statuspage.page_id is not None and settings.statuspage.api_key is not None:
        session = await stack.enter_async_context(session_for(settings.statuspage.timeout_s))
        key = settings.statuspage.api_key.get_secret_value()
        channels["status_page"] = StatusPageChannel(settings.statuspage, key, session)
    if settings.smtp.host is not None:
        channels["email"] = SmtpChannel(settings.smtp)
    return channels


class _Notifier:
    """The parts of one running notifier, tied together."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        plan: CommunicationPlan,
        receivers: Mapping[str, Receiver],
        channels: Mapping[ChannelName, Channel],
        metrics: NotifierMetrics,
        stop: asyncio.Event,
    ) -> None:
        self._pool = pool
        self._plan = plan
        self._receivers = receivers
        self._heartbeat_timeout = timedelta(seconds=settings.notifier.heartbeat_timeout_s)
        self._metrics = metrics
        self._clock = SystemClock()
        self._stop = stop
        self._channel_names = tuple(channels)
        owner = f"{settings.instance}:{secrets.token_hex(6)}"
        self.journal = PostgresJournal(pool, owner=owner, source=f"/backout/{SERVICE}/{settings.instance}")
        failpoints = Failpoints.from_environment()
        max_age = timedelta(seconds=settings.notifier.max_event_age_s)
        self.workers = {
            name: Worker(
                name,
                channels[receiver.channel],
                self.journal,
                max_attempts=settings.notifier.max_attempts,
                max_age=max_age,
                failpoints=failpoints,
                settled=self._on_settled,
                tried=metrics.tried,
            )
            for name, receiver in receivers.items()
            if not receiver.not_configured
        }
        self.announcer = Announcer(
            self.journal,
            plan,
            receivers,
            max_age=max_age,
            clock=self._clock,
            failpoints=failpoints,
            recorded=self._on_recorded,
            stop=stop,
        )

    def evaluation_watch(self, heartbeats: Consumer) -> EvaluationWatch:
        """Watches over the monitor by its heartbeats."""
        return EvaluationWatch(
            PostgresEvaluation(self._pool, self.journal),
            heartbeats,
            self._plan,
            self._receivers,
            timeout=self._heartbeat_timeout,
            clock=self._clock,
            recorded=self._on_recorded,
            counted=self._metrics.not_evaluated,
            stop=self._stop,
        )

    async def take_over(self) -> None:
        """Go on where the last process of this instance ended."""
        await self.journal.take_back_claims()
        settled = await self.journal.settle_unreachable(self.workers)
        if settled:
            log.warning("deliveries to receivers that are no longer configured", settled=settled)

    async def keep_claims(self) -> None:
        """Renew the claims of what is being delivered, and count what is open."""
        while not self._stop.is_set():
            pause = RENEWAL_S
            try:
                await self.journal.renew_claims(
                    worker.working_on for worker in self.workers.values() if worker.working_on is not None
                )
                counts = await self.journal.open_counts()
                for channel in self._channel_names:
                    self._metrics.open(channel, counts.get(channel, 0))
            except UNAVAILABLE as error:
                log.warning("the database is away", error=str(error))
                pause = _KEEPING_WAIT_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), pause)

    def _on_recorded(self, delivery: Delivery) -> None:
        if delivery.refusal is not None:
            self._metrics.recorded_only(delivery.channel, delivery.refusal[0])
        else:
            self.workers[delivery.receiver].wake()

    def _on_settled(self, entry: Entry, settlement: Settlement) -> None:
        seconds = (self._clock.now() - entry.delivery.caused_at).total_seconds()
        self._metrics.settled(entry, settlement, seconds=seconds)
        # The next delivery of a lane may be another worker's.
        for worker in self.workers.values():
            worker.wake()
