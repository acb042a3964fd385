"""The client for applications that have no event loop: Flask, Django, anything under WSGI, a worker.

    with BreakerThread(BreakerClient("kafka:9092")) as breakers:
        decision = breakers.decide("pdf_extraction")

The topic is read by a daemon thread with a loop of its own; ``decide`` is the client's, and waits for
nothing. A child that is forked has no such thread: begin it there, after the fork.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from backout_client.breakers import BreakerClient
from backout_client.decisions import Decision
from backout_client.reading import State

_CLOSE_WAIT_S = 15.0


class BreakerThread:
    """Reads for ``client`` in a thread, between ``start`` and ``close``; as a context manager, within it."""

    def __init__(self, client: BreakerClient) -> None:
        self._client = client
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None

    def start(self) -> None:
        """Begin to read, and return at once. Raises as entering the client does."""
        if self._thread is not None:
            raise RuntimeError("it has begun already: it reads, and answers everybody who asks it")
        begun: Future[None] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._read(begun)), name="backout breakers", daemon=True
        )
        thread.start()
        begun.result()
        self._thread = thread

    def close(self) -> None:
        """End it; nothing happens where it has not begun, or is closed already."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._over is None or not thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._over.set)
        thread.join(_CLOSE_WAIT_S)

    def decide(self, component: str) -> Decision:
        """As ``BreakerClient.decide``."""
        return self._client.decide(component)

    def wait_until_read(self, timeout_s: float) -> bool:
        """Wait until the topic was read to its end once; False if that takes longer, or nobody reads."""
        if self._thread is None or self._loop is None or not self._thread.is_alive():
            return False
        waiting = self._client.wait_until_read(timeout_s)
        return asyncio.run_coroutine_threadsafe(waiting, self._loop).result()

    @property
    def problem(self) -> str | None:
        """What is wrong with the connection now; None while the topic is followed."""
        if self._thread is not None and not self._thread.is_alive():
            return "nobody reads: this process was forked from the one that does"
        return self._client.problem

    @property
    def sign_of_life_age_s(self) -> float | None:
        """Seconds since the newest sign of life of a monitor; None before any."""
        return self._client.sign_of_life_age_s

    def components(self) -> dict[str, State]:
        """The components that a decision is known of, with their latest state."""
        return self._client.components()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _read(self, begun: Future[None]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._client:
                begun.set_result(None)
                await self._over.wait()
        except Exception as error:
            # It is raised where it was begun; once it runs, nothing ends the client but its own end.
            if begun.done():
                raise
            begun.set_exception(error)
