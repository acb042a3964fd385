"""Health, told by doing: an implementation is healthy if it extracts a known file right now."""

import asyncio

from aiohttp import web

from examples.docrag.accuracy import accuracy
from examples.docrag.control import ControlPlane
from examples.docrag.corpus import KnownFile
from examples.docrag.database import Pool
from examples.docrag.errors import classify
from examples.docrag.extraction import Extractors, NoExtractor, Plan
from examples.docrag.publish import Publisher
from examples.docrag.validation import MIN_ACCURACY

CHECK_PATIENCE_S = 10.0


class HealthApi:
    """Liveness, readiness, and the health of each implementation."""

    def __init__(
        self,
        control: ControlPlane,
        extractors: Extractors,
        pool: Pool,
        publisher: Publisher,
        known: KnownFile,
    ) -> None:
        self._control = control
        self._extractors = extractors
        self._pool = pool
        self._publisher = publisher
        self._known = known

    def routes(self) -> list[web.RouteDef]:
        """The routes of this part."""
        return [
            web.get("/healthz", self.alive),
            web.get("/readyz", self.ready),
            web.get("/health/original-extractor", self.original),
            web.get("/health/enhanced-extractor", self.enhanced),
        ]

    async def alive(self, _request: web.Request) -> web.Response:
        """200 while the event loop turns."""
        return web.json_response({"status": "alive"})

    async def ready(self, _request: web.Request) -> web.Response:
        """200 if database and configuration are sound. Kafka is told of, but not required."""
        faults: dict[str, str] = {}
        try:
            async with self._pool.acquire(timeout=CHECK_PATIENCE_S) as connection:
                await connection.fetchval("SELECT 1", timeout=CHECK_PATIENCE_S)
            await self._control.check()
        except Exception as error:  # noqa: BLE001 - whatever it is, we are not ready, and say why
            faults[classify(error)[1]] = str(error) or type(error).__name__
        body = {
            "status": "unready" if faults else "ready",
            "faults": faults,
            "kafka": {"connected": self._publisher.connected, "dropped": self._publisher.dropped},
        }
        return web.json_response(body, status=503 if faults else 200)

    async def original(self, _request: web.Request) -> web.Response:
        """Extract with the original extractor, with its backup's configuration while it is shut down."""
        return await self._health("original")

    async def enhanced(self, _request: web.Request) -> web.Response:
        """Extract with the enhanced extractors that are enabled."""
        return await self._health("enhanced")

    async def _health(self, implementation: str) -> web.Response:
        body: dict[str, object] = {"implementation": implementation, "file": self._known.name}
        try:
            plan = self._plan(implementation)
            extraction = await asyncio.wait_for(
                self._extractors.extract(self._known.content, self._known.name, plan), CHECK_PATIENCE_S
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the implementation is not healthy
            return web.json_response({**body, "healthy": False, "error": str(error)}, status=503)
        score = accuracy(self._known.text, extraction.text)
        healthy = score >= MIN_ACCURACY
        measured = {"accuracy": round(score, 6), "seconds_per_page": round(extraction.seconds_per_page, 6)}
        body = {**body, "healthy": healthy, "library": extraction.library, **measured}
        return web.json_response(body, status=200 if healthy else 503)

    def _plan(self, implementation: str) -> Plan:
        if implementation == "original":
            return self._control.original_or_backup()
        enabled = self._control.configuration().extractors.enhanced.enabled()
        if not enabled:
            raise NoExtractor("the enhanced extractors are disabled")
        return enabled
