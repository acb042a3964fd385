"""One place that turns errors into answers: `{"error": which kind, "message": what happened, what to do}`."""

import logging

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler

from examples.docrag.breaker import BreakerOpen
from examples.docrag.control import KeyReused, StaleEpoch
from examples.docrag.extraction import ExtractionFailed, NoExtractor, UnreadableDocument
from examples.docrag.ledger import BadControlHeader
from examples.docrag.routing import ChangeRefused, ConfigurationError

log = logging.getLogger(__name__)

RETRY_AFTER_S = 2

_KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (UnreadableDocument, 422, "unreadable document"),
    (ExtractionFailed, 500, "extraction failed"),
    (NoExtractor, 503, "no extractor"),
    (BreakerOpen, 503, "breaker open"),
    (ConfigurationError, 500, "configuration"),
    (StaleEpoch, 409, "stale epoch"),
    (KeyReused, 422, "key reused"),
    (ChangeRefused, 409, "refused"),
    (BadControlHeader, 400, "bad header"),
    (asyncpg.PostgresConnectionError, 503, "database unavailable"),
    (asyncpg.OperatorInterventionError, 503, "database unavailable"),
    (asyncpg.InsufficientResourcesError, 503, "database unavailable"),
    (asyncpg.InterfaceError, 503, "database unavailable"),
    # What asyncpg raises where the connection is lost at the moment it is used.
    (asyncpg.InternalClientError, 503, "database unavailable"),
    (TimeoutError, 503, "timed out"),
    (OSError, 503, "system"),
)


def classify(error: Exception) -> tuple[int, str]:
    """HTTP status and short kind of an error."""
    if isinstance(error, web.HTTPException):
        return error.status, error.reason.lower()
    for kind, status, name in _KINDS:
        if isinstance(error, kind):
            return status, name
    return 500, "internal"


def status_of(error: Exception) -> int:
    """HTTP status of an error."""
    return classify(error)[0]


def answer_to(error: Exception) -> web.Response:
    """The answer that tells an error."""
    status, kind = classify(error)
    message = (error.text or error.reason) if isinstance(error, web.HTTPException) else str(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
    body = {"error": kind, "message": message or type(error).__name__}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error in one form; an unforeseen one is logged with its traceback and not shown."""
    try:
        return await handler(request)
    except Exception as error:
        status, kind = classify(error)
        if kind == "internal":
            log.exception("unforeseen error", extra={"method": request.method, "path": request.path})
            return web.json_response({"error": kind, "message": "see the service's log"}, status=status)
        return answer_to(error)
