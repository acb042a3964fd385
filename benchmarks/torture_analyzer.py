"""``make torture ONLY=analyzer-stream``: kill the analyzer at any instant while its events go on coming.

Events of an open incident are written all the time, also while an analyzer starts, restores its
table and takes its place in the group. It gets a ``kill -9`` at random moments, and so does a second
instance that joins and leaves. Between the kills one or the other is frozen, mostly for so long
that the group gives the topics to the other, and then goes on with what it was doing. What the
archive and the progress in Postgres say is held against the log: every committed record of the
incident is archived once, none of an aborted transaction is, the topics are read to their ends, and
the incident is closed with a report that can be made again.

Exit status: 0 if all of that holds. The first loss ends the run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.archive_audit import Ledger, faults, read_kept, unread
from benchmarks.fleet import Fleet, events_on, kafka_of, report_torture
from benchmarks.incident_flow import Flow
from benchmarks.load import CACHE_DIR
from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.postgres import EmbeddedPostgres
from chassis.embedded.process_group import ProcessGroup
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.postgres import open_pool
from chassis.settings import KafkaSettings, PostgresSettings, Settings
from schemas.incidents import IncidentEvent
from services.analyzer.main import replay

KILLS = 40
MAIN, OTHER = "one", "two"
SESSION_TIMEOUT_MS = 3_000
PASSED_OVER = "the stream passed a record over"
_GOES_ON_WITHIN_S = 90.0
_CLOSED_WITHIN_S = 90.0
# Where the killed process is not waited for: it is still starting then, or has just begun.
_BLIND_S = (0.2, 6.0)
_LIVES_ON_S = (0.0, 1.5)
_MAIN_AWAY_S = (0.5, 6.0)
_OTHER_AWAY_S = (2.0, 15.0)
_STAYS_AWAY = 0.2
_LEAVES = 0.3
_FREEZES = 0.3
_FROZEN_S = (0.5, 2.5 * SESSION_TIMEOUT_MS / 1_000)
_INCIDENT = """
SELECT status, reason, why, addenda, report_sha256 FROM backout.incidents WHERE incident_id = $1
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """``blind`` of the kills do not wait until the analyzer has gone on since the last one."""

    kills: int = KILLS
    seed: int = 0
    blind: float = 0.3
    with_other: bool = True


@dataclass
class Outcome:
    """What was done, and what was found."""

    seconds: float = 0.0
    kills: int = 0
    leaves: int = 0
    freezes: int = 0
    events: int = 0
    aborted: int = 0
    found_again: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.leaves} orderly leaves, {self.freezes} freezes, "
            f"{self.events} events of the incident, "
            f"{self.aborted} aborted, {self.found_again} passed over and found again, "
            f"in {self.seconds:.0f} s: {'right' if not self.problems else 'WRONG'}"
        )


def analyzers(group: ProcessGroup, settings: Settings, directory: Path) -> Fleet:
    """Analyzers that close an incident soon after its conditions are met."""
    directory.mkdir(parents=True, exist_ok=True)
    variables = {
        "BACKOUT_STATE_DIR": str(settings.state_dir),
        "BACKOUT_POSTGRES__DSN": settings.postgres_dsn,
        "BACKOUT_ANALYZER__SETTLE_S": "1",
        "BACKOUT_ANALYZER__CLOSE_AFTER_S": "600",
    }
    return Fleet(group, settings.kafka, directory, variables, service="analyzer")


class Storm:
    """One play of the plan, on topics that exist; at its end no instance runs."""

    def __init__(self, kafka: Kafka, settings: Settings, fleet: Fleet, plan: Plan) -> None:
        self._kafka = kafka
        self._settings = settings
        self._fleet = fleet
        self._plan = plan
        self._chance = random.Random(plan.seed)  # noqa: S311 - moments, not secrets
        self._flow = Flow(kafka, seed=plan.seed)
        self._ledger = Ledger(kafka)
        self._away: dict[str, float] = {MAIN: 0.0}
        self.outcome = Outcome()

    async def play(self) -> Outcome:
        outcome, stop, began = self.outcome, asyncio.Event(), time.monotonic()
        flowing = asyncio.create_task(self._flow.run(stop))
        if self._plan.with_other:
            self._away[OTHER] = began + self._chance.uniform(*_OTHER_AWAY_S)
        try:
            self._return_those_due()
            while outcome.kills < self._plan.kills and not outcome.problems:
                await self._disturb()
                outcome.problems += await self._faults()
        finally:
            stop.set()
            await flowing
        if not outcome.problems:
            self._away = dict.fromkeys(self._away, 0.0)
            self._return_those_due()
            await self._end()
        for instance in list(self._fleet.running):
            if await self._fleet.stop(instance) != 0:
                outcome.problems.append(f"{instance} did not stop in good order")
        if outcome.problems:
            outcome.problems.append(self._fleet.log_tail())
        await self._count()
        outcome.seconds = time.monotonic() - began
        return outcome

    async def _disturb(self) -> None:
        if self._chance.random() < self._plan.blind:
            await asyncio.sleep(self._chance.uniform(*_BLIND_S))
        else:
            before = await self._progress()
            if not await _holds(lambda: self._has_gone_on(before), _GOES_ON_WITHIN_S):
                self.outcome.problems.append(f"nothing was read within {_GOES_ON_WITHIN_S:g} s")
                return
            await asyncio.sleep(self._chance.uniform(*_LIVES_ON_S))
        self._note_deaths()
        self._return_those_due()
        if not self._fleet.running or self.outcome.problems:
            return
        victim = self._chance.choice(sorted(self._fleet.running))
        if self._plan.with_other and self._chance.random() < _FREEZES:
            await self._fleet.freeze(victim, self._chance.uniform(*_FROZEN_S))
            self.outcome.freezes += 1
            return
        if victim == OTHER and self._chance.random() < _LEAVES:
            await self._fleet.stop(victim)
            self.outcome.leaves += 1
        else:
            self._fleet.kill(victim)
            self.outcome.kills += 1
        stays_away = victim == OTHER or self._chance.random() < _STAYS_AWAY
        for_s = self._chance.uniform(*(_OTHER_AWAY_S if victim == OTHER else _MAIN_AWAY_S))
        self._away[victim] = time.monotonic() + for_s if stays_away else 0.0
        self._return_those_due()

    async def _has_gone_on(self, before: int) -> bool:
        self._note_deaths()
        self._return_those_due()
        return bool(self.outcome.problems) or await self._progress() > before

    def _return_those_due(self) -> None:
        """Start those whose time away is over."""
        for instance in [name for name, back_at in self._away.items() if time.monotonic() >= back_at]:
            del self._away[instance]
            self._fleet.start(instance)

    def _note_deaths(self) -> None:
        died = self._fleet.died().items()
        self.outcome.problems += [f"{name} ended with status {status}" for name, status in died]

    async def _progress(self) -> int:
        kept = await read_kept(self._settings.postgres_dsn, self._flow.events.incident_id)
        return sum(kept.progress.values())

    async def _faults(self) -> list[str]:
        # The tables first: the log then has all that they can have.
        incident_id = self._flow.events.incident_id
        kept = await read_kept(self._settings.postgres_dsn, incident_id)
        await self._ledger.read()
        return faults(kept, self._ledger.of(incident_id), self._flow.aborted)

    async def _end(self) -> None:
        """The incident's conditions are met: it has to close, with all that belongs to it."""
        incident_id = self._flow.events.incident_id
        reported = await _holds(self._is_reported, _CLOSED_WITHIN_S)
        problems = await self._faults()
        kept = await read_kept(self._settings.postgres_dsn, incident_id)
        problems += unread(kept, self._ledger.entries)
        row = await self._row()
        if not reported:
            problems.append(f"not closed with a report within {_CLOSED_WITHIN_S:g} s: {row}")
        elif (row["status"], row["reason"], row["addenda"]) != ("closed", "settled", 0):
            problems.append(f"closed otherwise than expected: {row}")
        else:
            problems += await self._as_told()
        self.outcome.problems += problems

    async def _as_told(self) -> list[str]:
        """What the analyzer itself told, and whether its report can be made again from the log."""
        incident_id = self._flow.events.incident_id
        wanted = {"opened": 1, "closed": 1}
        kinds: dict[str, int] = {}

        async def as_wanted() -> bool:
            kinds.clear()
            kinds.update(await _told(self._kafka))
            return kinds == wanted

        problems = [] if await _holds(as_wanted, 30.0) else [f"told of the incident: {kinds}"]
        async with open_pool(self._settings, "torture") as pool:
            made = await replay(self._settings, pool, incident_id, from_log=True)
        return problems if made.is_identical else [*problems, f"the report cannot be made again: {made}"]

    async def _is_reported(self) -> bool:
        self._return_those_due()
        row = await self._row()
        return row["report_sha256"] is not None

    async def _row(self) -> dict[str, Any]:
        connection = await asyncpg.connect(self._settings.postgres_dsn)
        try:
            row = await connection.fetchrow(_INCIDENT, self._flow.events.incident_id)
            return dict(row) if row is not None else {"status": "unknown", "report_sha256": None}
        finally:
            await connection.close()

    async def _count(self) -> None:
        await self._ledger.read()
        self.outcome.events = len(self._ledger.of(self._flow.events.incident_id))
        self.outcome.aborted = len(self._flow.aborted)
        logs = [path.read_text(errors="replace") for path in self._fleet.directory.glob("*.log")]
        self.outcome.found_again = sum(text.count(PASSED_OVER) for text in logs)


async def _holds(condition: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.1)
    return True


async def _told(kafka: Kafka) -> Counter[str]:
    """How many different events of each kind are on the topic of incidents."""
    events = {event.id: event.data for event in await events_on(kafka, "incidents")}
    return Counter(data.kind for data in events.values() if isinstance(data, IncidentEvent))


def main() -> int:
    options = _parse()
    plan = Plan(kills=options.kills, seed=options.seed)
    return report_torture("the analyzer's stream", options.seed, lambda directory: _play(directory, plan))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture_analyzer", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    return parser.parse_args()


async def _play(directory: Path, plan: Plan) -> Outcome:
    with ProcessGroup(directory) as group:
        servers = EmbeddedPostgres(directory / "postgres", group=group)
        async with EmbeddedKafka(directory / "kafka", cache_dir=CACHE_DIR, group=group) as broker, servers:
            settings = Settings(
                state_dir=directory / "state",
                kafka=KafkaSettings(
                    bootstrap_servers=broker.bootstrap_servers,
                    namespace=f"storm{secrets.token_hex(3)}.",
                    session_timeout_ms=SESSION_TIMEOUT_MS,
                ),
                postgres=PostgresSettings.model_validate({"dsn": servers.create_database("torture")}),
            )
            kafka = kafka_of(settings.kafka)
            await ensure_topics(kafka)
            fleet = analyzers(group, settings, directory / "analyzers")
            return await Storm(kafka, settings, fleet, plan).play()


if __name__ == "__main__":
    sys.exit(main())
