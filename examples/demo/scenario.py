"""The scenario: a release of the sample's PDF extraction turns out badly.

The original extractors serve; the enhanced ones are deployed; then they really slow down. From
there on nobody does anything: the scenario only watches, and afterwards verifies against the
sample itself that the rollback did what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from examples.demo.system import ScenarioError, System
from examples.demo.watch import Told, Watched, watch

COMPONENT = "pdf_extraction"
NAME = "pdf-extraction-degrades"
_COMPONENT_URL = f"/components/{COMPONENT}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the scenario takes over each part, in seconds."""

    baseline: float = 4.0
    released: float = 2.0
    slowness: float = 3.5
    fire_within: float = 90.0
    end_within: float = 180.0
    report_within: float = 30.0


@dataclass(slots=True)
class Outcome:
    """What happened: the events, and what the sample says of itself afterwards."""

    watched: Watched
    released_at: datetime
    degraded_at: datetime
    component: dict[str, Any]
    effects: list[dict[str, Any]]


async def play(
    system: System,
    *,
    told: Told,
    stage: Callable[[str], None],
    pace: Pace | None = None,
    meanwhile: Callable[[Watched], Any] | None = None,
) -> Outcome:
    """Play the scenario to the closing of its incident.

    ``meanwhile``, if given, is a coroutine function that runs beside it from the degradation on
    (the torture kills services in it). Raises ScenarioError if a stage is not reached in time.
    """
    pace = pace or Pace()
    watched, ready = Watched(), asyncio.Event()
    watching = asyncio.create_task(watch(system.kafka, watched, told, ready))
    doing: list[asyncio.Task[Any]] = []
    try:
        await asyncio.wait_for(ready.wait(), 30)
        system.start_load(600)
        stage("Load runs against the original extractors")
        await asyncio.sleep(pace.baseline)
        await _ask(system, "PUT", _COMPONENT_URL, {"mode": "enhanced"})
        released_at = datetime.now(UTC)
        stage("The new release is out: the enhanced extractors serve")
        await asyncio.sleep(pace.released)
        await _ask(system, "PUT", "/chaos", {"enhanced_delay_s": pace.slowness})
        degraded_at = datetime.now(UTC)
        stage(f"The enhanced extractors slow down by {pace.slowness:g} s a document")
        if meanwhile is not None:
            doing.append(asyncio.create_task(meanwhile(watched)))
        doing.append(asyncio.create_task(_await_stages(system, watched, pace)))
        # The first error ends it: what the other waits for may never come after it.
        await asyncio.gather(*doing)
        if watched.incidents("closed") and not await system.wait_for_reports(pace.report_within):
            raise ScenarioError(f"no report was written within {pace.report_within:g} s of the closing")
        component = await _ask(system, "GET", _COMPONENT_URL)
        effects = await _ask(system, "GET", "/effects")
    finally:
        for task in (watching, *doing):
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    return Outcome(watched, released_at, degraded_at, component, _effects(effects))


async def _await_stages(system: System, watched: Watched, pace: Pace) -> None:
    if not await watched.until(lambda seen: bool(seen.triggers("fired")), pace.fire_within):
        raise ScenarioError(f"no trigger fired within {pace.fire_within:g} s")
    if not await watched.until(lambda seen: bool(seen.rollbacks("completed")), pace.end_within):
        raise ScenarioError(f"no rollback was completed within {pace.end_within:g} s of the trigger")
    if not await watched.until(_may_leave, pace.end_within):
        still_open = "\n".join(await system.open_incidents())
        late = f"the incident was not closed within {pace.end_within:g} s of the rollback"
        raise ScenarioError(f"{late}:\n{still_open}\n{system.log_tails()}")


def _may_leave(seen: Watched) -> bool:
    """An incident that ended badly stays open for a person; there is nothing more to wait for."""
    ended_badly = any(entry.status != "Success" for entry in seen.rollbacks("completed"))
    return ended_badly or bool(seen.incidents("closed"))


def _effects(answer: Any) -> list[dict[str, Any]]:
    return list(answer["effects"] if isinstance(answer, dict) else answer)


async def _ask(system: System, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Call the sample; raises ScenarioError for any answer but 2xx."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        session.request(method, system.sample_url + path, json=body) as response,
    ):
        if response.status >= 300:
            raise ScenarioError(f"{method} {path}: {response.status} {await response.text()}")
        return await response.json()
