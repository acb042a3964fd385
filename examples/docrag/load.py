"""A steady load: uploads the known files and asks about them, at a fixed rate, whatever the answers take.

The rate does not wait for slow answers, as users do not either; what would exceed the limit of requests in
flight is skipped and counted.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from examples.docrag import corpus
from examples.docrag.measure import p95

QUESTIONS = (
    "How tight are the housing bolts of the pump?",
    "When did the river flood the archive?",
    "Which coffee lot fetched the highest price?",
    "Where is the assembly point?",
    "When did the lens come to Gull Rock?",
    "Why was the dome closed?",
    "How long does the rye bread bake?",
    "How long is the bridge over the Øresund?",
)
MAX_IN_FLIGHT = 64
REQUEST_PATIENCE_S = 30.0


@dataclass
class Tally:
    """Outcomes of one kind of request."""

    sent: int = 0
    succeeded: int = 0
    cited: int = 0
    skipped: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Count a failure under its reason: a status, or an error's name."""
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def summary(self) -> dict[str, Any]:
        """Counts, and the 95th percentile and maximum of the answer times in milliseconds."""
        summary: dict[str, Any] = {
            "sent": self.sent,
            "succeeded": self.succeeded,
            "failed": sum(self.failures.values()),
            "failures": dict(sorted(self.failures.items())),
            "skipped": self.skipped,
        }
        if self.seconds:
            summary["p95_ms"] = round(p95(self.seconds) * 1000, 1)
            summary["max_ms"] = round(max(self.seconds) * 1000, 1)
        return summary


class Load:
    """Drives one service."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._in_flight: set[asyncio.Task[None]] = set()
        self.uploads = Tally()
        self.queries = Tally()

    async def run(self, rate: float, duration_s: float, stopping: asyncio.Event) -> None:
        """Upload and ask `rate` times a second each, for `duration_s` or until stopped; await the answers."""
        loop = asyncio.get_running_loop()
        files, questions = itertools.cycle(corpus.build()), itertools.cycle(QUESTIONS)
        end = due = loop.time()
        end += duration_s
        while due < end and not stopping.is_set():
            self._launch(self.uploads, self._upload(next(files)))
            self._launch(self.queries, self._ask(next(questions)))
            due += 1 / rate
            await _wait(stopping, due - loop.time())
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    def _launch(self, tally: Tally, request: Coroutine[Any, Any, None]) -> None:
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            tally.skipped += 1
            request.close()
            return
        tally.sent += 1
        task = asyncio.create_task(request)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _upload(self, known: corpus.KnownFile) -> None:
        request = self._session.post(
            f"{self._url}/documents", params={"name": known.name}, data=known.content
        )
        await _finish(self.uploads, request)

    async def _ask(self, question: str) -> None:
        answer = await _finish(self.queries, self._session.get(f"{self._url}/query", params={"q": question}))
        self.queries.cited += bool(answer and answer["citations"])


async def _finish(tally: Tally, request: Any) -> dict[str, Any] | None:
    started = time.perf_counter()
    try:
        async with request as response:
            body: dict[str, Any] = await response.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        tally.fail(type(error).__name__)
        return None
    tally.seconds.append(time.perf_counter() - started)
    if response.status >= 400:
        tally.fail(str(response.status))
        return None
    tally.succeeded += 1
    return body


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), max(0.0, seconds))
    except TimeoutError:
        return


async def run(url: str, rate: float, duration_s: float) -> dict[str, Any]:
    """Run a load until it is over or SIGTERM or SIGINT comes; returns the summary."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    started = time.monotonic()
    timeout = aiohttp.ClientTimeout(total=REQUEST_PATIENCE_S)
    connector = aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        load = Load(url, session)
        await load.run(rate, duration_s, stopping)
    return {
        "url": url,
        "rate": rate,
        "duration_s": round(time.monotonic() - started, 1),
        "uploads": load.uploads.summary(),
        "queries": {**load.queries.summary(), "with_citations": load.queries.cited},
    }
