"""The executor: carries rollbacks out, one at a time for each component.

Triggers and commands come in through an inbox; every step is journaled before and after, and
announced on the rollbacks topic through an outbox.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from chassis.clock import SystemClock
from chassis.consume import consume_events
from chassis.dead_letters import DeadLetters
from chassis.failpoints import Failpoints
from chassis.inbox import Inbox, OldInboxRows
from chassis.kafka import Consumer, Kafka, Producer
from chassis.lifecycle import (
    Health,
    consumer_probe,
    kafka_probe,
    postgres_probe,
    run_tasks,
    stop_on_signals,
    wait_for_topics,
)
from chassis.outbox import Outbox, OutboxRelay, SentRows
from chassis.postgres import Pool, migrate, open_pool
from chassis.pruning import Pruner, PruningMetrics
from chassis.settings import Settings
from chassis.telemetry import new_registry
from schemas.topics import TopicId
from services.executor.adapters.actions import Actions
from services.executor.adapters.executions import ExecutionStore
from services.executor.adapters.http_actions import HttpActions, new_session
from services.executor.adapters.journal import Journal
from services.executor.adapters.leases import Leases
from services.executor.adapters.playbook_files import Playbooks, load_playbooks
from services.executor.adapters.process_actions import ProcessActions
from services.executor.adapters.pruning import OldTriggers
from services.executor.adapters.request_store import RequestStore
from services.executor.domain.requests import Gates
from services.executor.handlers.dispatcher import Dispatcher
from services.executor.handlers.execution_run import ExecutionRunner
from services.executor.handlers.gate import Gate
from services.executor.handlers.intake import CommandIntake, TriggerIntake
from services.executor.handlers.request_desk import RequestDesk
from services.executor.handlers.step_run import StepRunner

log = structlog.get_logger(__name__)
SCHEMA = "executor"
TOPICS: tuple[TopicId, ...] = ("triggers", "commands")
MIGRATIONS = "services.executor.adapters.migrations"


async def run(settings: Settings) -> None:
    """Run the executor until it is told to stop.

    Raises ConfigErrors for playbooks that are wrong, DependencyUnavailable when Kafka or Postgres
    do not come up.
    """
    playbooks = load_playbooks(settings.config_dir / "playbooks", settings.executor)
    for warning in playbooks.warnings:
        log.warning("playbook", problem=warning)
    health = Health("executor", new_registry())
    kafka = Kafka.of(settings, "executor")
    async with AsyncExitStack() as stack:
        stop = await stack.enter_async_context(stop_on_signals())
        await stack.enter_async_context(health.serve(settings.http))
        await kafka.wait_until_reachable()
        health.add("broker", kafka_probe(kafka))
        pool = await stack.enter_async_context(open_pool(settings, "executor"))
        health.add("postgres", postgres_probe(pool))
        await migrate(pool, SCHEMA, MIGRATIONS)
        session = await stack.enter_async_context(new_session())
        actions = Actions(HttpActions(session), ProcessActions(settings.executor.allowed_commands))
        parts = build(settings, pool, playbooks, actions, health.registry, stop)
        health.add("executions", parts.dispatcher.probe)

        await wait_for_topics(kafka, health, (*TOPICS, "rollbacks"))
        producer = await stack.enter_async_context(kafka.producer())
        consumers = {}
        for topic in TOPICS:
            consumers[topic] = await stack.enter_async_context(_consumer(kafka, topic, settings.instance))
            health.add(topic, consumer_probe(consumers[topic]))
        health.started()
        tasks = _tasks(parts, consumers, kafka, producer, settings, stop)
        tasks["pruning"] = _pruner(parts, consumers, kafka, settings, health.registry).run(stop)
        graces = {"dispatcher": settings.executor.stop_grace_s}
        await run_tasks(tasks, stop, kafka.reach, graces=graces)


def _consumer(kafka: Kafka, topic: TopicId, instance: str) -> AbstractAsyncContextManager[Consumer]:
    return kafka.consumer(kafka.topic(topic), group=kafka.group(f"executor-{topic}"), instance=instance)


@dataclass(frozen=True, slots=True)
class Parts:
    """What one executor is made of, apart from its connections."""

    triggers: TriggerIntake
    commands: CommandIntake
    dispatcher: Dispatcher
    outbox: Outbox
    pool: Pool


def build(
    settings: Settings,
    pool: Pool,
    playbooks: Playbooks,
    actions: Actions,
    registry: CollectorRegistry,
    stop: asyncio.Event,
) -> Parts:
    """Put an executor together."""
    clock = SystemClock()
    failpoints = Failpoints.from_environment()
    # One life of one process: a restart under the same instance name is another owner.
    owner = f"{settings.instance}/{secrets.token_hex(8)}"
    leases = Leases(pool, clock, owner=owner, seconds=settings.executor.lease_s)
    outbox = Outbox(SCHEMA)
    journal = Journal(pool, outbox, leases, clock, source=f"/backout/executor/{settings.instance}")
    requests = RequestStore(pool)
    gates = gates_of(settings)
    metrics = Metrics.of(registry)
    runner = ExecutionRunner(
        StepRunner(actions, settings.executor.targets, metrics.step_seconds),
        Gate(requests, gates, clock),
        playbooks,
        metrics.ended,
    )
    triggers_read = asyncio.Event()
    store = ExecutionStore(pool, leases, journal)
    dispatcher = Dispatcher(
        store, runner, clock, failpoints, triggers_read, grace_s=settings.executor.stop_grace_s
    )
    desk = RequestDesk(requests, journal, playbooks, gates, clock, metrics.decisions)
    inbox = Inbox(SCHEMA)
    accepted = dispatcher.wake
    return Parts(
        triggers=TriggerIntake(
            pool,
            inbox,
            requests,
            desk,
            failpoints,
            accepted=accepted,
            read_to_end=triggers_read,
            stop=stop,
        ),
        commands=CommandIntake(
            pool, inbox, requests, journal, desk, gates, clock, failpoints, accepted=accepted, stop=stop
        ),
        dispatcher=dispatcher,
        outbox=outbox,
        pool=pool,
    )


def _tasks(
    parts: Parts,
    consumers: Mapping[TopicId, Consumer],
    kafka: Kafka,
    producer: Producer,
    settings: Settings,
    stop: asyncio.Event,
) -> dict[str, Coroutine[Any, Any, None]]:
    def dead_letters(topic: str) -> DeadLetters:
        limit = settings.kafka.dead_letters_in_a_row
        return DeadLetters(
            producer, topic=kafka.topic("dead-letter"), consumer=f"executor-{topic}", limit=limit
        )

    quiet = asyncio.Event()

    async def dispatch() -> None:
        try:
            await parts.dispatcher.run(stop)
        finally:
            # Only now nothing more is written to the outbox.
            quiet.set()

    async def decide() -> None:
        await parts.triggers.decide(consumers["triggers"])

    return {
        "triggers": consume_events(
            consumers["triggers"],
            parts.triggers.handle,
            dead_letters("triggers"),
            stop=stop,
            after_batch=decide,
        ),
        "commands": consume_events(
            consumers["commands"], parts.commands.handle, dead_letters("commands"), stop=stop
        ),
        "dispatcher": dispatch(),
        "outbox": OutboxRelay(parts.pool, parts.outbox, kafka, producer).run(quiet),
    }


def _pruner(
    parts: Parts,
    consumers: Mapping[TopicId, Consumer],
    kafka: Kafka,
    settings: Settings,
    registry: CollectorRegistry,
) -> Pruner:
    inbox = [OldInboxRows(SCHEMA, kafka.topic(topic), consumers[topic]) for topic in TOPICS]
    return Pruner(
        parts.pool,
        SCHEMA,
        [*inbox, SentRows(SCHEMA), OldTriggers()],
        PruningMetrics(registry),
        keep=timedelta(days=settings.postgres.retention_days),
        busy=parts.dispatcher.is_running,
    )


@dataclass(frozen=True, slots=True)
class Metrics:
    """The executor's own figures."""

    decisions: Counter
    ended: Counter
    step_seconds: Histogram

    @classmethod
    def of(cls, registry: CollectorRegistry) -> Metrics:
        return cls(
            decisions=Counter(
                "backout_executor_decisions_total",
                "Decisions about triggers and commands, by named reason.",
                ["reason"],
                registry=registry,
            ),
            ended=Counter(
                "backout_executor_executions_total",
                "Executions that ended, by status.",
                ["status"],
                registry=registry,
            ),
            step_seconds=Histogram(
                "backout_executor_step_seconds",
                "Duration of steps that were done.",
                ["step"],
                registry=registry,
                buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900),
            ),
        )


def gates_of(settings: Settings) -> Gates:
    """The bounds of the settings, as the decisions take them."""
    return Gates(
        trigger_max_age=timedelta(seconds=settings.executor.trigger_max_age_s),
        command_max_age=timedelta(seconds=settings.executor.command_max_age_s),
        cool_down=timedelta(seconds=settings.executor.cool_down_s),
    )
