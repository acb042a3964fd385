"""The life of a service: signals, its tasks, and telling the truth about its health.

``/healthz`` says that the process is alive and its loop turns; ``/readyz`` asks each part
that the service depends on, now; ``/metrics`` is Prometheus' text format.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from chassis.errors import BackoutError, ConfigError, DependencyUnavailable
from chassis.kafka import Consumer, Kafka
from chassis.kafka_admin import partition_counts
from chassis.kafka_stop import Reach
from chassis.postgres import UNAVAILABLE, Pool
from chassis.settings import HttpSettings
from schemas.topics import TopicId

log = structlog.get_logger(__name__)
Probe = Callable[[], Awaitable[str | None]]
"""Says what is wrong with a part now, or None."""

_PROBE_TIMEOUT_S = 3.0
_STOP_TIMEOUT_S = 20.0
_AFTER_GRACE_S = 5.0
_NO_BROKER_TIMEOUT_S = 2.0
_AT_ONCE_S = 0.5
_TOPICS_POLL_S = 1.0
_MAKE_TOPICS = "Run `backout topics init`"
_CANCELLED_TIMEOUT_S = 3.0
"""A query to a database that does not answer outlives its cancellation by its own timeouts."""


class EndedEarly(BackoutError):
    """A task of a service ended by itself: the service would be half alive."""


class Health:
    """What a service depends on, each with a probe that is asked when someone asks us."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self.service = service
        self.registry = registry
        self._probes: dict[str, Probe] = {"started": self._not_started}
        self._started = False

    def add(self, name: str, probe: Probe) -> None:
        self._probes[name] = probe

    def started(self) -> None:
        """All parts are built and the tasks run."""
        self._started = True

    async def _not_started(self) -> str | None:
        return None if self._started else "still starting"

    async def problems(self) -> dict[str, str]:
        """What is wrong now, by part; all are asked at the same time."""
        # Parts are still added while a service starts, and it is asked all the same.
        probes = dict(self._probes)
        answers = await asyncio.gather(*(_ask(probe) for probe in probes.values()))
        return {name: answer for name, answer in zip(probes, answers, strict=True) if answer is not None}

    @contextlib.asynccontextmanager
    async def serve(self, settings: HttpSettings) -> AsyncIterator[int]:
        """Answer on the port of the settings; yields the port that was taken."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await _listen(runner, settings)
            port = int(runner.addresses[0][1])
            if settings.port_file is not None:
                _write_whole(settings, port)
            log.info("listening", host=settings.host, port=port)
            yield port
        finally:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"service": self.service, "status": "ok"})

    async def _readyz(self, _: web.Request) -> web.Response:
        problems = await self.problems()
        body = {"service": self.service, "status": "not ready" if problems else "ready", "problems": problems}
        return web.json_response(body, status=503 if problems else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self.registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )


async def _ask(probe: Probe) -> str | None:
    try:
        return await asyncio.wait_for(probe(), _PROBE_TIMEOUT_S)
    except TimeoutError:
        return f"no answer within {_PROBE_TIMEOUT_S:g} s"
    except Exception as error:
        # Whoever asks must hear that this part is not well, whatever the probe did not foresee.
        log.exception("probe failed")
        return f"{type(error).__name__}: {error}"


async def _listen(runner: web.AppRunner, settings: HttpSettings) -> None:
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}",
            place="BACKOUT_HTTP__PORT",
            mend="Name a free port, or 0 to take one",
        ) from None


def _write_whole(settings: HttpSettings, port: int) -> None:
    """Whoever waits for the file must never read half of it."""
    path = settings.port_file
    if path is None:
        return
    part = path.with_suffix(".part")
    part.write_text(str(port), encoding="ascii")
    part.replace(path)


def postgres_probe(pool: Pool) -> Probe:
    """Postgres answers a query."""

    async def probe() -> str | None:
        try:
            await pool.fetchval("SELECT 1", timeout=2)
        except UNAVAILABLE as error:
            return f"{type(error).__name__}: {error}"
        return None

    return probe


def kafka_probe(kafka: Kafka) -> Probe:
    """The brokers answer. A consumer alone does not tell: it waits in silence for a lost broker."""

    async def probe() -> str | None:
        try:
            await kafka.check()
        except DependencyUnavailable as error:
            return str(error)
        return None

    return probe


def consumer_probe(
    consumer: Consumer, *, max_silence_s: float = 30.0, needs_partitions: bool = True
) -> Probe:
    """The consumer polls, and has been given partitions (or need not have any: of a topic with fewer
    partitions than its group has members, some get none)."""

    async def probe() -> str | None:
        silence = time.monotonic() - consumer.last_poll
        if silence > max_silence_s:
            return f"has not polled for {silence:.0f} s"
        if needs_partitions and not consumer.assignment():
            return "no partitions are assigned"
        return None

    return probe


def all_well(*probes: Probe) -> Probe:
    """The first thing that one of ``probes`` finds wrong; they are asked in turn."""

    async def probe() -> str | None:
        for each in probes:
            if (problem := await each()) is not None:
                return problem
        return None

    return probe


async def wait_for_topics(kafka: Kafka, health: Health, topics: Sequence[TopicId]) -> None:
    """Wait until the topics are there. A client would wait in silence, and then say that the broker does
    not answer; here readiness and the log name those that are missing, and how to make them."""
    missing: list[str] = []

    async def probe() -> str | None:
        return f"there is no topic {', '.join(missing)}. {_MAKE_TOPICS}" if missing else None

    health.add("topics", probe)
    while True:
        known = await partition_counts(kafka)
        before, missing[:] = list(missing), [name for name in map(kafka.topic, topics) if name not in known]
        if not missing:
            return
        if missing != before:
            log.warning("waits for topics", missing=list(missing), mend=_MAKE_TOPICS)
        await asyncio.sleep(_TOPICS_POLL_S)


class Stop(asyncio.Event):
    """Set when the process is asked to stop. ``watched`` once the service's tasks see to it."""

    watched = False


@contextlib.asynccontextmanager
async def stop_on_signals() -> AsyncIterator[Stop]:
    """An event that SIGTERM and SIGINT set. A second signal has its ordinary effect.

    As long as the service only starts (it waits for a broker, it migrates), nobody looks at the
    event: then what is within the context is cancelled, and the context ends quietly.
    """
    stop = Stop()
    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()
    cancelled = False

    def on_signal(number: signal.Signals) -> None:
        nonlocal cancelled
        log.info("stopping", signal=number.name)
        stop.set()
        if not stop.watched and starting is not None:
            cancelled = starting.cancel()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    except asyncio.CancelledError:
        if not cancelled or starting is None:
            raise
        starting.uncancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def until_set(*events: asyncio.Event, timeout_s: float) -> None:
    """Rest until one of ``events`` is set, or until ``timeout_s`` has passed."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def run_tasks(
    tasks: Mapping[str, Coroutine[Any, Any, None]],
    stop: asyncio.Event,
    reach: Reach | None = None,
    *,
    graces: Mapping[str, float] = MappingProxyType({}),
) -> None:
    """Run a service's tasks until ``stop`` is set; each is expected to watch it.

    A task that fails stops the others, and its error is raised: a service that is half alive
    is worse than one that is restarted. So is one that ends before the stop: that raises
    EndedEarly. Tasks that outlive the stop by 20 s are cancelled, and by 2 s those of a service
    whose brokers do not answer (``reach``): they may wait for one. ``graces`` are tasks that wait for no
    broker, and end by themselves within so many seconds. What was not done because the
    database is away is done at the next start: that is no failure of a stop either.
    """
    if isinstance(stop, Stop):
        stop.watched = True
    running: set[asyncio.Task[Any]] = {asyncio.create_task(work, name=name) for name, work in tasks.items()}
    stopping: asyncio.Task[Any] = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        early = [] if stop.is_set() else [task.get_name() for task in running if task.done()]
        stop.set()
        began = time.monotonic()
        lost = await _is_lost_at_the_end(running, reach)
        await _wait_for_graces(running, graces, began)
        usual = _NO_BROKER_TIMEOUT_S if lost else _STOP_TIMEOUT_S
        # What is told at the end of a grace has to be told still.
        left = max(began + usual - time.monotonic(), _NO_BROKER_TIMEOUT_S if graces else 0.0)
        finished, late = await asyncio.wait(running, timeout=left)
        for task in late:
            log.error("task does not stop", task=task.get_name())
        for task in finished:
            _raise_failure(task, lost=lost and not early, asked=not early)
        if early:
            raise EndedEarly(f"{', '.join(early)} ended, though nobody had asked for a stop")
    finally:
        stop.set()
        stopping.cancel()
        for task in running:
            task.cancel()
        ended, _ = await asyncio.wait({*running, stopping}, timeout=_CANCELLED_TIMEOUT_S)
        # The first failure is the one that is raised; the others must have been asked for.
        await asyncio.gather(*ended, return_exceptions=True)


async def _wait_for_graces(
    running: set[asyncio.Task[Any]], graces: Mapping[str, float], began: float
) -> None:
    patient = {task for task in running if task.get_name() in graces}
    if patient:
        deadline = began + max(graces[task.get_name()] for task in patient) + _AFTER_GRACE_S
        await asyncio.wait(patient, timeout=max(0.0, deadline - time.monotonic()))


async def _is_lost_at_the_end(running: set[asyncio.Task[Any]], reach: Reach | None) -> bool:
    """Whether no broker answers; nobody is asked where all tasks end at once, and well."""
    ended, late = await asyncio.wait(running, timeout=0 if reach is None else _AT_ONCE_S)
    if reach is None or not (late or any(task.cancelled() or task.exception() for task in ended)):
        return False
    if lost := await reach.lost():
        log.warning("stops without a broker")
    return lost


def _raise_failure(task: asyncio.Task[None], *, lost: bool, asked: bool) -> None:
    """Raise what a task ended with, unless a stop was ``asked`` for and that is the absence of the
    database or of a ``lost`` broker: a stop is no failure."""
    try:
        task.result()
    except DependencyUnavailable as error:
        if not lost:
            raise
        log.warning("ended without a broker", task=task.get_name(), error=str(error))
    except UNAVAILABLE as error:
        if not asked:
            raise
        log.warning(
            "ended without the database", task=task.get_name(), error=f"{type(error).__name__}: {error}"
        )
