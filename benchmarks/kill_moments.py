"""When the torture kills a service, and whether it hit what it aimed at.

A rollback of the scenario is over in a fraction of a second, an incident takes half a minute: kills
spread evenly over the latter hardly ever meet the former. So most kills of the executor follow
the journal, and for every kill the journal is asked whether a rollback was running.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from chassis.errors import BackoutError
from examples.demo.scenario import COMPONENT
from examples.demo.watch import Watched
from services.executor.adapters.playbook_files import load_playbooks
from services.executor.domain.playbook import HttpCheck, Playbook, Validate

# From the degradation to the closing of the incident a run takes about this long, and what
# monitor, notifier and analyzer do about the trigger this much of it.
INCIDENT_S = 30.0
ANNOUNCEMENTS_S = 3.0
FIRE_WITHIN_S = 90.0
_POLL_S = 0.001
# Of so many kills of the executor one falls anywhere into the incident.
_ANYWHERE_EACH = 5

_LAST_ENTRY = """
SELECT coalesce(max(j.sequence), 0) FROM backout.executions e JOIN backout.journal j USING (execution_id)
"""
_RUNNING = """
SELECT count(*) FROM backout.executions e
WHERE e.state IN ('running', 'held')
  AND EXISTS (SELECT FROM backout.journal j WHERE j.execution_id = e.execution_id AND j.kind = 'started')
"""


class NotReached(BackoutError):
    """The moment at which a service was to be killed did not come."""


@dataclass(frozen=True, slots=True)
class Moment:
    """``seconds`` after the degradation began, after the trigger fired (``fired``), or after the
    journal of the rollback has come to its entry number ``entry``."""

    seconds: float = 0.0
    fired: bool = False
    entry: int = 0

    def __str__(self) -> str:
        if self.entry:
            return f"right after entry {self.entry} of the journal"
        return f"{self.seconds:.2f} s after the {'trigger' if self.fired else 'degradation'}"


def entries_before_end(playbook: Playbook) -> int:
    """How many entries the journal of an undisturbed rollback has before its last, ``completed``."""
    count = 1
    for step in playbook.steps:
        # A check is never begun, only completed; a validation is announced besides.
        count += 1 if isinstance(step.action, HttpCheck) else 3 if isinstance(step.action, Validate) else 2
    return count


def scenario_entries(config_dir: Path = Path("config")) -> int:
    """The same of the scenario's playbook."""
    playbook = load_playbooks(config_dir / "playbooks", only=COMPONENT).by_component[COMPONENT]
    return entries_before_end(playbook)


def choose_moment(service: str, number: int, chance: random.Random, entries: int) -> Moment:
    """When to kill ``service`` in run ``number`` (from 1); a rollback has ``entries`` before its end."""
    if service == "executor" and number % _ANYWHERE_EACH:
        return Moment(entry=chance.randint(1, entries))
    if service == "executor" or number % 2:
        return Moment(chance.uniform(0, INCIDENT_S))
    return Moment(chance.uniform(0, ANNOUNCEMENTS_S), fired=True)


async def wait_for(moment: Moment, seen: Watched, dsn: str) -> None:
    """Return when the moment has come; raises NotReached."""
    if moment.fired and not await seen.until(lambda so_far: bool(so_far.triggers("fired")), FIRE_WITHIN_S):
        raise NotReached(f"no trigger fired within {FIRE_WITHIN_S:g} s")
    if moment.entry:
        await _until_entry(moment.entry, dsn)
    await asyncio.sleep(moment.seconds)


async def _until_entry(entry: int, dsn: str) -> None:
    """Ask the database itself: what is read from Kafka, the executor has left behind long ago."""
    deadline = time.monotonic() + FIRE_WITHIN_S
    connection = await asyncpg.connect(dsn)
    try:
        while await connection.fetchval(_LAST_ENTRY) < entry:
            if time.monotonic() > deadline:
                raise NotReached(f"the journal had no entry {entry} within {FIRE_WITHIN_S:g} s")
            await asyncio.sleep(_POLL_S)
    finally:
        connection.terminate()


async def is_rollback_running(dsn: str) -> bool:
    """Whether the journal has a rollback that has begun and not ended."""
    connection = await asyncpg.connect(dsn)
    try:
        return bool(await connection.fetchval(_RUNNING))
    finally:
        await connection.close()
