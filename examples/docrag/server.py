"""The service put together: builds the parts, starts them in order, and stops them in reverse."""

import asyncio
import json
import logging
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from backout_client import BreakerClient
from examples.docrag import corpus
from examples.docrag.breaker import ORIGINAL_EXTRACTOR, ExtractionBreaker
from examples.docrag.chaos import ChaosSwitch
from examples.docrag.control import ControlPlane
from examples.docrag.control_api import ControlApi
from examples.docrag.database import open_pool
from examples.docrag.document_api import DocumentApi
from examples.docrag.document_store import DocumentStore
from examples.docrag.errors import errors_as_json
from examples.docrag.eventlog import EventLog
from examples.docrag.extraction import Extractors
from examples.docrag.health_api import HealthApi
from examples.docrag.measure import Meter
from examples.docrag.probe import PROBE_EVERY_S, PUBLISH_EVERY_S, Probe, every, publish_samples
from examples.docrag.publish import Publisher
from examples.docrag.routing import COMPONENT
from examples.docrag.settings import Settings

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 20_000_000
DRAIN_S = 5.0


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Prints one line of JSON with the service's URL on standard output when it listens. Raises
    DatabaseUnavailable, StateDirectoryInUse, and OSError if the address is taken.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        service = await start(settings, stack)
        sys.stdout.write(json.dumps({"event": "listening", "url": service.url}) + "\n")
        sys.stdout.flush()
        await _until(stopping, service.tasks)
        log.info("stopping")


@dataclass(frozen=True)
class Running:
    """A service that listens, and the background work that must not end before it."""

    url: str
    tasks: list[asyncio.Task[None]]


async def start(settings: Settings, stack: AsyncExitStack) -> Running:
    """Start the service; leaving the stack stops it. Raises as `run` does."""
    app, tasks = await _build(settings, stack)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, settings.host, settings.port).start()
    return Running(f"http://{settings.host}:{runner.addresses[0][1]}", tasks)


async def _build(
    settings: Settings, stack: AsyncExitStack
) -> tuple[web.Application, list[asyncio.Task[None]]]:
    files = await asyncio.to_thread(corpus.build)
    pool = await open_pool(settings.dsn)
    stack.push_async_callback(pool.close)
    control = await stack.enter_async_context(ControlPlane(pool, settings.state_dir, settings.failpoint))
    publisher = await stack.enter_async_context(Publisher(settings.kafka, settings.topics))
    events, meter, chaos = EventLog(publisher), Meter(), ChaosSwitch()
    extractors = Extractors(chaos)
    stack.callback(extractors.close)

    smallest = min(files, key=lambda known: len(known.content))
    known = {file.sha256: file for file in files}
    app = web.Application(middlewares=[errors_as_json], client_max_size=MAX_BODY_BYTES)
    app.add_routes(HealthApi(control, extractors, pool, publisher, smallest).routes())
    documents = DocumentStore(pool)
    breaker = await _breaker(settings, stack, control, events)
    app.add_routes(DocumentApi(control, extractors, documents, meter, events, known, breaker).routes())
    app.add_routes(ControlApi(control, extractors, files, chaos, events).routes())

    async def release_workers(_app: web.Application) -> None:
        extractors.release()

    app.on_shutdown.append(release_workers)
    probe = Probe(control, extractors, files, meter, events)
    tasks = [
        asyncio.create_task(every(PROBE_EVERY_S, probe.once), name="self-probe"),
        asyncio.create_task(
            every(PUBLISH_EVERY_S, partial(publish_samples, meter, publisher)), name="samples"
        ),
    ]
    stack.push_async_callback(_cancel, tasks)
    events.emit(COMPONENT, "INFO", "service starting", state_dir=str(settings.state_dir))
    return app, tasks


async def _breaker(
    settings: Settings, stack: AsyncExitStack, control: ControlPlane, events: EventLog
) -> ExtractionBreaker | None:
    if settings.breakers_topic is None or settings.kafka is None:
        return None
    client = BreakerClient(
        settings.kafka,
        topic=settings.breakers_topic,
        when_stale=settings.breaker_when_stale,
        stale_fallback=ORIGINAL_EXTRACTOR,
        client_id="docrag",
    )
    await stack.enter_async_context(client)
    return ExtractionBreaker(client.decide, control, events)


async def _until(stopping: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the signal; a background task that ends before it has failed, and its error is raised."""
    signalled = asyncio.create_task(stopping.wait())
    done, _ = await asyncio.wait([signalled, *tasks], return_when=asyncio.FIRST_COMPLETED)
    signalled.cancel()
    for task in done - {signalled}:
        task.result()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
