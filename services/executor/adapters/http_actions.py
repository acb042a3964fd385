"""HTTP: calls that change something, and checks that see whether it is so.

A call carries the step's idempotency key and the lease's epoch; what its answer means for the
effect is said in a word (applied, refused, fenced, unknown), because what may be done next hangs
on it. Redirects are not followed and proxies not asked: a request goes where the settings say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from services.executor.domain.checks import difference, hold_against
from services.executor.domain.playbook import HttpCall, HttpCheck, Validate
from services.executor.domain.steps import Acted, Landing, Seen, Sight
from services.executor.domain.templates import Names, TemplateError, fill, fill_text, storable, storable_text

MAX_ANSWER_BYTES = 1_000_000
# The upstream of a gateway that says so may still be at work.
_STILL_UNDER_WAY = frozenset({502, 504})
# Who breaks down may have begun; where the key is honoured, what was not answered was not applied.
_BROKE_DOWN = frozenset({408, 500, 503})
_TURNED_AWAY = frozenset({425, 429})


class HttpActions:
    """Acts and looks over one client session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call(self, call: HttpCall, names: Names, *, key: str, epoch: int, timeout_s: float) -> Acted:
        """Make the request once."""
        acted, _ = await self._send(call, names, key=key, epoch=epoch, timeout_s=timeout_s)
        return acted

    async def validate(
        self, suite: Validate, names: Names, *, key: str, epoch: int, timeout_s: float
    ) -> Acted:
        """Run a suite and hold its figures against the limits; a limit that is not met is final."""
        acted, answer = await self._send(suite.call, names, key=key, epoch=epoch, timeout_s=timeout_s)
        if acted.landing is not Landing.APPLIED:
            return acted
        checks = hold_against(suite.limits, answer)
        failed = [check.name for check in checks if not check.passed]
        if not failed:
            return Acted(Landing.APPLIED, f"{suite.suite}: {len(checks)} checks passed", checks=checks)
        return Acted(Landing.REFUSED, f"{suite.suite}: failed {', '.join(failed)}", checks=checks)

    async def check(self, check: HttpCheck, names: Names, *, timeout_s: float) -> Seen:
        """Look once. An answer that cannot be had, or cannot be read, says nothing."""
        try:
            status, answer = await self._request("GET", _url(check.url, names), timeout_s=timeout_s)
            expected = fill(check.expect_json, names)
        except (aiohttp.ClientError, TimeoutError, TemplateError, ValueError) as error:
            return Seen(Sight.UNKNOWN, _words(error))
        if status != check.status:
            known = check.expect_json is None and status < 500 and status not in (401, 403, 408, 429)
            return Seen(Sight.NOT_DONE if known else Sight.UNKNOWN, f"answers {status}", answer)
        if check.expect_json is None:
            return Seen(Sight.DONE, f"answers {status}", answer)
        unlike = difference(expected, answer)
        return Seen(Sight.DONE if unlike is None else Sight.NOT_DONE, unlike or "as expected", answer)

    async def _send(
        self, call: HttpCall, names: Names, *, key: str, epoch: int, timeout_s: float
    ) -> tuple[Acted, Any]:
        headers = {"Idempotency-Key": key, "X-Backout-Epoch": str(epoch)}
        try:
            url, body = _url(call.url, names), fill(call.body, names)
        except TemplateError as error:
            return Acted(Landing.REFUSED, str(error)), None
        try:
            status, answer = await self._request(
                call.method, url, body=body, headers=headers, timeout_s=timeout_s
            )
        except aiohttp.InvalidURL as error:
            return Acted(Landing.REFUSED, _words(error)), None
        except aiohttp.ClientConnectorError as error:
            return Acted(Landing.REFUSED, _words(error), retryable=True), None
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return Acted(Landing.UNKNOWN, _words(error), retryable=True), None
        if _is_stale_epoch(call, status, answer):
            # As the playbook names it: the address may hold a password, and everybody is told.
            words = f"{call.url} refuses epoch {epoch}, since it has seen a newer one: {_short(answer)}"
            return Acted(Landing.FENCED, words), answer
        return _judge(call, status, answer), answer

    async def _request(
        self,
        method: str,
        url: str,
        *,
        timeout_s: float,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and the answer: JSON where it is, else its text."""
        async with self._session.request(
            method,
            url,
            json=body,
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        ) as response:
            raw = await response.content.read(MAX_ANSWER_BYTES + 1)
            while len(raw) <= MAX_ANSWER_BYTES and (more := await response.content.read(MAX_ANSWER_BYTES)):
                raw += more
            if len(raw) > MAX_ANSWER_BYTES:
                raise ValueError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            return response.status, _decoded(raw)


class AnswerLost(aiohttp.ClientError):
    """The connection ended before the answer came: the request may have had its effect."""


async def _never_twice(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """The client repeats a PUT by itself when its answer is lost; behind the journal's back it must
    not. It does not know this error, and so leaves it to us."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise AnswerLost(str(error) or type(error).__name__) from error


def new_session() -> aiohttp.ClientSession:
    """A session that obeys no proxy of the environment, keeps no cookies, and never sends twice.

    Every request has a connection of its own, so that none meets one that the target has left.
    """
    return aiohttp.ClientSession(
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(force_close=True, limit=0),
        middlewares=(_never_twice,),
    )


def _url(template: str, names: Names) -> str:
    safe = Names(quote(names.component, safe=""), quote(names.execution, safe=""), names.targets)
    return fill_text(template, safe)


def _decoded(raw: bytes) -> Any:
    try:
        answer = json.loads(raw)
        # What is nested deeper than we can go through is no answer that a playbook could ask for.
        storable(answer)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")
    return answer


def _judge(call: HttpCall, status: int, answer: Any) -> Acted:
    wanted = status in call.expect_status if call.expect_status else 200 <= status <= 299
    if wanted:
        return Acted(Landing.APPLIED, f"answered {status}")
    words = f"answered {status}: {_short(answer)}"
    broke_down = status in _BROKE_DOWN
    if status in _STILL_UNDER_WAY or (broke_down and "idempotency_key" not in call.honours):
        return Acted(Landing.UNKNOWN, words, retryable=True)
    return Acted(Landing.REFUSED, words, retryable=broke_down or status in _TURNED_AWAY)


def _is_stale_epoch(call: HttpCall, status: int, answer: Any) -> bool:
    if "epoch" not in call.honours or status not in (409, 412):
        return False
    error = answer.get("error") if isinstance(answer, Mapping) else answer
    return isinstance(error, str) and "stale epoch" in error.lower()


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.InvalidURL):
        return "the address of the target cannot be read (executor.targets)"
    return storable_text(f"{type(error).__name__}: {error}"[:300])


def _short(answer: Any) -> str:
    text = storable_text(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))
    return text if len(text) <= 200 else text[:199] + "…"
