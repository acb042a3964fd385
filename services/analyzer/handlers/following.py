"""Follow the control topics: each event goes to its incident, in the table and in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog

from chassis.clock import Clock
from chassis.consume import Received
from chassis.failpoints import Failpoints
from schemas.incidents import IncidentEvent
from services.analyzer.domain.closing import Assessment, ClosingRules, assess
from services.analyzer.domain.facts import Fact, Place, fact_of, keys_of
from services.analyzer.domain.incident import Incident, apply, apply_all, find

log = structlog.get_logger(__name__)


class OpenIncidents(Protocol):
    """The table of open incidents; one writer at a time."""

    def all(self) -> Mapping[str, Incident]: ...
    async def replace(self, incident: Incident, merged: Sequence[str] = ()) -> None: ...
    async def remove(self, incident_id: str) -> None: ...


class IncidentStore(Protocol):
    """What is kept for people and for reports."""

    async def save(
        self, item: Received, incident: Incident, assessment: Assessment, now: datetime
    ) -> None: ...
    async def save_progress(self, topic: str, partition: int, offset: int) -> None: ...
    async def closed_among(self, ids: Sequence[str]) -> IncidentEvent | None: ...
    async def save_addendum(self, item: Received, closing: IncidentEvent, now: datetime) -> None: ...
    async def close(self, item: Received, closing: IncidentEvent, now: datetime) -> bool: ...
    async def forget(self, incident_id: str) -> None: ...
    async def take_over(self, holder: str) -> None: ...
    async def open_events(self) -> Sequence[Received]: ...
    async def ended_among(self, ids: Iterable[str]) -> Sequence[str]: ...


class Follower:
    """Handles every event of the stream. Handling one again changes nothing."""

    def __init__(
        self,
        incidents: OpenIncidents,
        store: IncidentStore,
        rules: ClosingRules,
        clock: Clock,
        failpoints: Failpoints,
        *,
        on_open: Callable[[Incident], Awaitable[object]],
    ) -> None:
        self._incidents = incidents
        self._store = store
        self._rules = rules
        self._clock = clock
        self._failpoints = failpoints
        self._on_open = on_open
        self._turn = asyncio.Lock()

    async def handle(self, item: Received) -> None:
        """Apply one event to the table first and to the store second; the caller then acknowledges."""
        async with self._turn:
            await self._handle(item)

    async def forget(self, incident: Incident) -> None:
        """Forget what never became an incident, unless more of it has come meanwhile.

        Nothing is told of it: its closing event could be told once only, and if it opened later,
        it could never be closed.
        """
        async with self._turn:
            if self._incidents.all().get(incident.id) != incident:
                return
            # The store goes first: what the table still holds is forgotten again after a crash.
            await self._store.forget(incident.id)
            await self._incidents.remove(incident.id)
            log.info("echoes without an incident forgotten", incident=incident.id)

    async def take_over(self, holder: str) -> None:
        """Become the one who writes, and make the table say what the store knows.

        A process that was frozen may have written to the table's changelog what was true before another
        took over. The store takes nothing from it, and has every event that was handled.
        """
        async with self._turn:
            await self._store.take_over(holder)
            for incident_id in await self._store.ended_among(self._incidents.all()):
                await self._incidents.remove(incident_id)
            known = self._incidents.all()
            facts = [_fact(item) for item in await self._store.open_events()]
            wanted = apply_all(known, [fact for fact in facts if fact is not None])
            for incident in wanted.values():
                if known.get(incident.id) != incident:
                    await self._incidents.replace(incident)
                    log.warning("the table lacked events of an incident", incident=incident.id)
            for incident_id in known.keys() - wanted.keys():
                await self._incidents.remove(incident_id)

    async def _handle(self, item: Received) -> None:
        data = item.event.data
        if isinstance(data, IncidentEvent):
            await self._follow_own(item, data)
            return
        fact = _fact(item)
        if fact is None:
            await self._store.save_progress(item.topic, item.partition, item.offset)
            return
        closing = await self._closing_of(fact)
        if closing is not None:
            await self._store.save_addendum(item, closing, self._clock.now())
            return
        await self._add(item, fact)

    async def _closing_of(self, fact: Fact) -> IncidentEvent | None:
        """The closing of the incident that the fact belongs to, if that is closed already."""
        if find(self._incidents.all(), keys_of(fact)[0]) is not None:
            return None
        return await self._store.closed_among(keys_of(fact))

    async def _add(self, item: Received, fact: Fact) -> None:
        known = self._incidents.all()
        change = apply(known, fact)
        before = known.get(change.incident.id)
        self._failpoints.reach("analyzer.before-table")
        if before != change.incident or change.merged:
            await self._incidents.replace(change.incident, change.merged)
        self._failpoints.reach("analyzer.after-table")
        now = self._clock.now()
        await self._store.save(item, change.incident, assess(change.incident, now, self._rules), now)
        self._failpoints.reach("analyzer.after-store")
        if change.incident.opened and (before is None or not before.opened):
            log.info("incident opened", incident=change.incident.id, component=change.incident.component)
            await self._on_open(change.incident)

    async def _follow_own(self, item: Received, data: IncidentEvent) -> None:
        """Only a closing changes anything: the first by offset, which has the incident's end."""
        if data.kind != "closed":
            await self._store.save_progress(item.topic, item.partition, item.offset)
            return
        await self._incidents.remove(data.incident_id)
        self._failpoints.reach("analyzer.after-removal")
        if await self._store.close(item, data, self._clock.now()):
            log.info("incident closed", incident=data.incident_id, reason=data.reason, outcome=data.status)


def _fact(item: Received) -> Fact | None:
    place = Place(topic=item.topic, partition=item.partition, offset=item.offset)
    return fact_of(item.event, place, datetime.fromtimestamp(item.appended_ms / 1000, UTC))
