"""The public face: documents in, answers with citations out."""

import hashlib
import time
from collections.abc import Mapping

from aiohttp import web

from examples.docrag.accuracy import accuracy
from examples.docrag.answering import answer
from examples.docrag.breaker import BreakerOpen, ExtractionBreaker, Way
from examples.docrag.control import ControlPlane
from examples.docrag.corpus import KnownFile
from examples.docrag.document_store import DocumentStore
from examples.docrag.errors import status_of
from examples.docrag.eventlog import EventLog
from examples.docrag.extraction import (
    Extraction,
    ExtractionFailed,
    Extractors,
    Plan,
    UnreadableDocument,
    plan_for,
)
from examples.docrag.measure import QUERY_COMPONENT, Meter
from examples.docrag.routing import COMPONENT

MAX_NAME_LENGTH = 200
MAX_QUESTION_LENGTH = 500
DEFAULT_RESULTS = 5
MAX_RESULTS = 20


class DocumentApi:
    """POST /documents and GET /query."""

    def __init__(
        self,
        control: ControlPlane,
        extractors: Extractors,
        documents: DocumentStore,
        meter: Meter,
        events: EventLog,
        known: Mapping[str, KnownFile],
        breaker: ExtractionBreaker | None = None,
    ) -> None:
        self._control = control
        self._extractors = extractors
        self._documents = documents
        self._meter = meter
        self._events = events
        self._known = known
        self._breaker = breaker

    def routes(self) -> list[web.RouteDef]:
        """The routes of this part."""
        return [web.post("/documents", self.upload), web.get("/query", self.query)]

    async def upload(self, request: web.Request) -> web.Response:
        """Extract, cut and store a document. Measured from the first byte of the request to the answer."""
        started = time.perf_counter()
        way: Way | None = None
        try:
            name = _name(request)
            content = await request.read()
            way = self._way()
            response = await self._upload(name, content, way)
        except BreakerOpen as error:
            self._meter.fallback()
            self._tell(COMPONENT, "upload rejected", error)
            raise
        except Exception as error:
            if way is None or way.instead is None:
                failed = status_of(error) >= 500
                self._meter.upload(time.time(), time.perf_counter() - started, failed=failed)
            self._tell(COMPONENT, "upload failed", error)
            raise
        if way.instead is None:
            self._meter.upload(time.time(), time.perf_counter() - started, failed=False)
        return response

    async def query(self, request: web.Request) -> web.Response:
        """Answer a question from the stored documents."""
        started = time.perf_counter()
        try:
            question, limit = _question(request)
            passages = await self._documents.search(question, limit)
        except Exception as error:
            self._meter.query(time.time(), time.perf_counter() - started, failed=status_of(error) >= 500)
            self._tell(QUERY_COMPONENT, "query failed", error)
            raise
        self._meter.query(time.time(), time.perf_counter() - started, failed=False)
        return web.json_response(answer(question, passages))

    def _way(self) -> Way:
        if self._breaker is None:
            return Way(plan_for(self._control.configuration()))
        return self._breaker.way()

    async def _upload(self, name: str, content: bytes, way: Way) -> web.Response:
        sha256 = hashlib.sha256(content).hexdigest()
        known = self._known.get(sha256)
        if way.instead is None:
            extraction = await self._extract(content, name, known, way.plan)
        else:
            self._meter.fallback()
            extraction = await self._extractors.extract(content, name, way.plan)
        stored = await self._documents.save(name, sha256, extraction)
        body = {
            "document": name,
            "document_id": stored.document_id,
            "sha256": sha256,
            "pages": len(extraction.pages),
            "chunks": stored.chunks,
            "library": extraction.library,
            "seconds_per_page": round(extraction.seconds_per_page, 6),
        }
        if way.instead is not None:
            shown = ("state", "fallback", "reason", "why")
            body["breaker"] = {name: getattr(way.instead, name) for name in shown}
        return web.json_response(body, status=201)

    async def _extract(self, content: bytes, name: str, known: KnownFile | None, plan: Plan) -> Extraction:
        try:
            extraction = await self._extractors.extract(content, name, plan)
        except (ExtractionFailed, UnreadableDocument):
            if known is not None:
                self._meter.accuracy(time.time(), 0.0)
            raise
        self._meter.extraction(time.time(), extraction.seconds_per_page)
        if known is not None:
            self._meter.accuracy(time.time(), accuracy(known.text, extraction.text))
        return extraction

    def _tell(self, component: str, body: str, error: Exception) -> None:
        severity = "ERROR" if status_of(error) >= 500 else "WARN"
        self._events.emit(component, severity, body, error=str(error), kind=type(error).__name__)


def _name(request: web.Request) -> str:
    name = request.query.get("name", "")
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        text = f"give the document a name: /documents?name=…, 1 to {MAX_NAME_LENGTH} printable characters"
        raise web.HTTPBadRequest(text=text)
    return name


def _question(request: web.Request) -> tuple[str, int]:
    question = request.query.get("q", "").strip()
    if not question or len(question) > MAX_QUESTION_LENGTH or "\0" in question:
        raise web.HTTPBadRequest(text=f"ask with /query?q=…, 1 to {MAX_QUESTION_LENGTH} characters")
    limit = request.query.get("limit", str(DEFAULT_RESULTS))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MAX_RESULTS):
        raise web.HTTPBadRequest(text=f"limit must be a whole number from 1 to {MAX_RESULTS}")
    return question, int(limit)
