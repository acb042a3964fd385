"""Statuspage: an incident opened at the start, updated by ends that need people, resolved by a
successful one.

The API knows no idempotency key, so the delivery's id is kept in the incident's metadata and
looked for there. It takes one request a second.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp

from chassis.settings import StatuspageSettings
from services.notifier.domain.attempts import Absent, Accepted, Failure
from services.notifier.domain.entry import Entry

_STATUS = {"in_progress": "investigating", "good": "resolved", "bad": "investigating"}
_IMPACT = "minor"
_CLOCK_SKEW = timedelta(minutes=5)
_PAGE = 100
_NAMESPACE = "backout"


class _Refused(Exception):
    """An answer that is not a success."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class StatusPageChannel:
    """One page, through its API key."""

    spacing = timedelta(0)
    can_be_asked = True

    def __init__(self, settings: StatuspageSettings, api_key: str, session: aiohttp.ClientSession) -> None:
        self.timeout = timedelta(seconds=settings.timeout_s)
        page = quote(settings.page_id or "", safe="")
        self._incidents = f"{settings.base_url.rstrip('/')}/pages/{page}/incidents"
        self._headers = {"Authorization": f"OAuth {api_key}"}
        self._session = session
        self._interval_s = settings.min_interval_s
        self._turn = asyncio.Lock()
        self._free_at = 0.0

    async def admit(self) -> None:
        """Wait for this process's next turn: one request in each interval."""
        async with self._turn:
            await asyncio.sleep(max(self._free_at - time.monotonic(), 0.0))
            self._free_at = time.monotonic() + self._interval_s

    async def send(self, entry: Entry) -> Accepted | Failure:
        """Create the incident, or update the one that is there."""
        try:
            if entry.shown is None:
                created = await self._call("POST", self._incidents, json={"incident": creation(entry)})
                return Accepted(str(created["id"]))
            place = f"{self._incidents}/{quote(entry.shown.remote_id, safe='')}"
            await self._call("PATCH", place, json={"incident": update(entry)})
            return Accepted(entry.shown.remote_id)
        except _Refused as refused:
            return refused.failure

    async def find(self, entry: Entry) -> Accepted | Absent | Failure:
        """Look for the delivery's id in the incident that was updated, or in the list."""
        try:
            if entry.shown is not None:
                place = f"{self._incidents}/{quote(entry.shown.remote_id, safe='')}"
                known = await self._call("GET", place)
                return Accepted(entry.shown.remote_id) if _carries(known, entry) else Absent()
            return await self._find_in_list(entry)
        except _Refused as refused:
            return refused.failure

    async def _find_in_list(self, entry: Entry) -> Accepted | Absent:
        oldest = min(entry.delivery.caused_at, entry.sent_at or entry.delivery.caused_at) - _CLOCK_SKEW
        number = 1
        while True:
            query = {"limit": str(_PAGE), "page": str(number)}
            page = await self._call("GET", self._incidents, params=query)
            for incident in page:
                if _carries(incident, entry):
                    return Accepted(str(incident["id"]))
            if len(page) < _PAGE or _created(page[-1]) < oldest:
                return Absent()
            number += 1
            await self.admit()

    async def _call(self, method: str, url: str, **arguments: Any) -> Any:
        try:
            async with self._session.request(method, url, headers=self._headers, **arguments) as answer:
                if answer.status >= 400:
                    raise _Refused(await _failure_of(answer))
                return await answer.json()
        except aiohttp.ClientConnectorError as error:
            raise _Refused(Failure(f"status page: {error}", retryable=True)) from error
        except aiohttp.InvalidURL as error:
            raise _Refused(Failure(f"status page: not an address: {error}", retryable=False)) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = f"status page: {type(error).__name__} {error}".rstrip()
            raise _Refused(Failure(reason, retryable=True, may_have_landed=True)) from error


def creation(entry: Entry) -> dict[str, Any]:
    """A new incident, as in the plan's status updater."""
    delivery = entry.delivery
    return {
        "name": f"System Rollback - {delivery.component}",
        "impact_override": _IMPACT,
        "component_ids": list(delivery.addresses),
        **update(entry),
    }


def update(entry: Entry) -> dict[str, Any]:
    """The change that this delivery makes. Only a good end resolves."""
    delivery = entry.delivery
    marks = {"delivery_id": delivery.delivery_id, "incident_id": delivery.incident_id}
    return {
        "status": _STATUS[delivery.message.outlook],
        "body": delivery.message.content.strip(),
        "metadata": {_NAMESPACE: marks},
    }


def _carries(incident: Any, entry: Entry) -> bool:
    marks = (incident.get("metadata") or {}).get(_NAMESPACE) or {}
    return bool(marks.get("delivery_id") == entry.delivery.delivery_id)


def _created(incident: Any) -> datetime:
    return datetime.fromisoformat(str(incident["created_at"]))


async def _failure_of(answer: aiohttp.ClientResponse) -> Failure:
    status = answer.status
    reason = f"status page: HTTP {status} {(await answer.text())[:300]}".rstrip()
    if status in (420, 429):
        return Failure(reason, retryable=True, delay_s=_retry_after(answer))
    unknown = status >= 500 or status == 408
    return Failure(reason, retryable=unknown, may_have_landed=unknown)


def _retry_after(answer: aiohttp.ClientResponse) -> float | None:
    try:
        return float(answer.headers.get("Retry-After", ""))
    except ValueError:
        return None
