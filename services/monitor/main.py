"""The monitor: watches the metrics topic and tells when a trigger fires.

backout.metrics.v1 ─▶ Watch ─▶ Partition (engine) ─▶ backout.triggers.v1
                                      ├─▶ backout.breakers.v1 (decisions of circuit breakers)
                                      ├─▶ backout.heartbeats.v1 (that each partition is evaluated)
                                      ├─▶ backout.predictions.v1 (predictive alerts)
                                      ├─▶ backout.prediction-states.v1 (what the models have learned)
                                      └─▶ backout.trigger-states.v1 (phases, breakers, checkpoints)
backout.triggers.v1, backout.reports.v1 ─▶ SecondStage (compound triggers) ─▶ backout.triggers.v1
                                      └─▶ backout.compound-states.v1
foreign topics ─▶ Ingest ─▶ OriginPartition (translator) ─▶ backout.metrics.v1
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc

import structlog

from chassis.clock import Clock, SystemClock
from chassis.errors import ConfigError, Fenced, TemporaryError
from chassis.failpoints import Failpoints
from chassis.kafka import Consumer, Kafka
from chassis.kafka_admin import TopicState, inspect_topics
from chassis.lifecycle import Health, all_well, consumer_probe, kafka_probe, run_tasks, stop_on_signals
from chassis.restarts import Restarted, Started
from chassis.settings import Settings
from chassis.telemetry import new_registry
from schemas.topics import TopicId
from services.monitor.adapters.compound_metrics import CompoundMetrics
from services.monitor.adapters.compound_takeover import SOURCES as COMPOUND_SOURCES
from services.monitor.adapters.compound_takeover import open_second_stage
from services.monitor.adapters.config_directory import MonitorConfig, load_config
from services.monitor.adapters.heartbeat_events import HeartbeatEvents
from services.monitor.adapters.ingest_file import load_names
from services.monitor.adapters.ingest_metrics import IngestMetrics
from services.monitor.adapters.ingest_sources import Source, checked_sources, opened_ingest
from services.monitor.adapters.metrics import MonitorMetrics
from services.monitor.adapters.takeover import Takeover
from services.monitor.adapters.tracing import Tracing, open_tracing
from services.monitor.domain.compound.memory import Source as CompoundSource
from services.monitor.handlers.ports import Meter
from services.monitor.handlers.watch import Watch

SERVICE = "monitor"
NEEDED: tuple[TopicId, ...] = (
    "metrics",
    "trigger-states",
    "triggers",
    "breakers",
    "heartbeats",
    "predictions",
    "prediction-states",
    "reports",
    "compound-states",
    "dead-letter",
)
_RARELY = (200_000, 20, 50)
_FETCH_BYTES = 8 * 1024 * 1024
"""Of a partition: a backlog is worked off in long portions, each of which costs something by itself."""
log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT. Raises ConfigError(s) for wrong triggers, settings or topics, and
    PermanentError for states that do not fit the topic."""
    config = load_config(settings.config_dir, settings.monitor.rules)
    names = load_names(settings.config_dir)
    registry = new_registry()
    health = Health(SERVICE, registry)
    async with contextlib.AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_on_signals())
        await stack.enter_async_context(health.serve(settings.http))
        kafka = Kafka.of(settings, SERVICE)
        await kafka.wait_until_reachable()
        health.add("broker", kafka_probe(kafka))
        clock, ingest_metrics = SystemClock(), IngestMetrics(registry)
        tracing = await stack.enter_async_context(open_tracing(settings.tracing, instance=settings.instance))
        watching = _watching(settings, kafka, config, MonitorMetrics(registry), clock, tracing)
        health.add("kafka", watching.probe)
        # Before the first task is made: one that is made and not begun is complained of by Python.
        sources = await checked_sources(settings, kafka, names)
        tasks = {"watch": watching.run(stop)}
        for source in sources:
            ingesting = _ingesting(settings, kafka, source, ingest_metrics, clock)
            health.add(f"ingest {source.name}", ingesting.probe)
            tasks[f"ingest {source.name}"] = ingesting.run(stop)
        compound_metrics = CompoundMetrics(registry)
        for topic in COMPOUND_SOURCES:
            deciding = _second_stage(settings, kafka, topic, config, compound_metrics, clock)
            health.add(f"compound {topic}", deciding.probe)
            tasks[f"compound {topic}"] = deciding.run(stop)
        health.started()
        log.info(
            "watching",
            triggers=[rule.name for rule in config.rules],
            compound=[rule.name for rule in config.compounds],
            models=[alert.model for alert in config.predictive],
        )
        await run_tasks(tasks, stop, kafka.reach)


def _watching(
    settings: Settings,
    kafka: Kafka,
    config: MonitorConfig,
    meter: MonitorMetrics,
    clock: Clock,
    tracing: Tracing | None,
) -> Restarted:
    """The evaluation. A broker that was away for longer than its clients bear, or a partition that
    passed to another process, is no reason to end: what is written says where to go on."""

    async def watch_until(stop: asyncio.Event, started: Started) -> None:
        async with contextlib.AsyncExitStack() as stack:
            await kafka.wait_until_reachable()
            watch, consumer = await open_watch(stack, settings, kafka, config, meter, tracing=tracing)
            started(all_well(consumer_probe(consumer), watch.probe))
            await watch.run(stop)

    return Restarted(
        "watch",
        watch_until,
        clock=clock,
        may_pass=_may_pass,
        told=meter.works,
    )


def _may_pass(error: Exception) -> bool:
    """Whether to begin anew helps: the broker was away, or another process had the partitions meanwhile."""
    return isinstance(error, TemporaryError | Fenced)


def _second_stage(
    settings: Settings,
    kafka: Kafka,
    source: CompoundSource,
    config: MonitorConfig,
    meter: CompoundMetrics,
    clock: Clock,
) -> Restarted:
    """The compound triggers over one topic; it goes on after a broker's absence as the evaluation does."""

    async def decide_until(stop: asyncio.Event, started: Started) -> None:
        async with contextlib.AsyncExitStack() as stack:
            await kafka.wait_until_reachable()
            stage, consumer = await open_second_stage(stack, settings, kafka, source, config, meter)
            started(consumer_probe(consumer, needs_partitions=False))
            await stage.run(stop)

    return Restarted(
        f"compound {source}",
        decide_until,
        clock=clock,
        may_pass=_may_pass,
        told=functools.partial(meter.works, source),
    )


def _ingesting(
    settings: Settings, kafka: Kafka, source: Source, meter: IngestMetrics, clock: Clock
) -> Restarted:
    """The translation of one foreign topic. Whatever is wrong with it, triggers are evaluated."""
    failpoints = Failpoints.from_environment()

    async def ingest_until(stop: asyncio.Event, started: Started) -> None:
        async with opened_ingest(settings, kafka, source, meter, failpoints) as (ingest, consumer):
            started(consumer_probe(consumer, needs_partitions=False))
            await ingest.run(stop)

    return Restarted(
        f"ingest {source.name}",
        ingest_until,
        clock=clock,
        may_pass=lambda _: True,
        told=functools.partial(meter.works, source.name),
    )


async def open_watch(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    kafka: Kafka,
    config: MonitorConfig,
    meter: Meter,
    *,
    tracing: Tracing | None = None,
) -> tuple[Watch, Consumer]:
    """The loop and its consumer, which has joined the group; both are closed with ``stack``."""
    # Series are many, and stay: to look through them all each time some more came is work for nothing.
    gc.set_threshold(*_RARELY)
    clock = SystemClock()
    watching = settings.monitor
    heartbeats = HeartbeatEvents(
        settings.instance,
        partitions=await checked_partitions(kafka),
        within_s=max(watching.heartbeat_s, watching.silence_s),
    )
    takeover = Takeover(
        kafka,
        config,
        meter,
        allowed_lateness=watching.allowed_lateness_s,
        heartbeats=heartbeats,
        dead_letter_limit=settings.kafka.dead_letters_in_a_row,
        tracing=tracing,
        clock=clock,
        failpoints=Failpoints.from_environment(),
    )
    watch = Watch(
        takeover.partition,
        await stack.enter_async_context(kafka.producer()),
        clock,
        silence_s=watching.silence_s,
        heartbeat_s=watching.heartbeat_s,
        max_records=watching.fetch_max_records,
    )
    stack.push_async_callback(watch.close)
    consumer = await stack.enter_async_context(
        kafka.consumer(
            kafka.topic("metrics"),
            group=kafka.group(SERVICE),
            instance=settings.instance,
            listener=watch,
            plain=True,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )
    )
    watch.attach(consumer)
    return watch, consumer


async def checked_partitions(kafka: Kafka) -> int:
    """The number of partitions of the metrics topic.

    Raises ConfigError where the topics are missing, do not match each other, or keep the
    producers' times: nothing may move time but the broker's clock.
    """
    reports = {report.id: report for report in await inspect_topics(kafka)}
    for topic in NEEDED:
        if reports[topic].state is TopicState.MISSING:
            raise ConfigError(
                "there is no such topic", place=kafka.topic(topic), mend="Run `backout topics init`"
            )
    metrics = reports["metrics"]
    kind, wanted = metrics.differences.get("message.timestamp.type", (None, None))
    if wanted is not None:
        raise ConfigError(
            f"message.timestamp.type is {kind}",
            place=kafka.topic("metrics"),
            mend="Run `backout topics init`",
        )
    for states in (reports["trigger-states"], reports["prediction-states"]):
        if states.partitions != metrics.partitions:
            raise ConfigError(
                f"has {states.partitions} partitions and {kafka.topic('metrics')} has {metrics.partitions}",
                place=states.name,
                mend="Create it with as many",
            )
    return metrics.partitions
