"""The summary of a run: what happened, when, whether it is verified, and where to look."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from examples.demo.receipts import Receipts, receipts_in
from examples.demo.scenario import NAME, Outcome
from examples.demo.system import System
from examples.demo.watch import Watched
from schemas.rollbacks import RollbackEvent
from schemas.triggers import TriggerEvent

TOLD_ONCE = "nobody was told twice"
"""The claim whose finding counts what the receivers have."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every claim that must hold, with what was found; the run succeeded if all hold."""

    claims: tuple[tuple[str, bool, str], ...]

    @property
    def passed(self) -> bool:
        return all(held for _, held, _ in self.claims)


def judge(outcome: Outcome, system: System) -> Verdict:
    """Hold the run against what a rollback promises; ask the sample and the receivers, too."""
    seen = outcome.watched
    statuses = [entry.status for entry in seen.rollbacks("completed")]
    mode = outcome.component.get("mode")
    reports = system.reports()
    claims = [
        ("one rollback, completed with Success", statuses == ["Success"], ", ".join(map(str, statuses))),
        _validation_claim(seen),
        ("the sample serves with the original extractor", mode == "original", f"mode {mode}"),
        _effects_claim(outcome),
        *_delivery_claims(seen, receipts_in(system.receivers_dir)),
        ("the incident is closed", len(seen.incidents("closed")) == 1, _closed(seen)),
        ("the report is written", all(path.exists() for path in reports.values()), ", ".join(reports)),
    ]
    return Verdict(tuple(claims))


def _validation_claim(seen: Watched) -> tuple[str, bool, str]:
    checks = [check for entry in seen.rollbacks("validated") for check in entry.checks]
    found = ", ".join(f"{check.name} {check.value:g}" for check in checks if check.value is not None)
    held = bool(checks) and all(check.passed for check in checks)
    return "validated after the restore", held, found or "no checks"


def _delivery_claims(seen: Watched, receipts: Receipts) -> list[tuple[str, bool, str]]:
    kinds = Counter(data.kind for data in seen.deliveries())
    settled = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sorted(kinds.items()))
    received = (
        f"{receipts.slack_messages} Slack message(s) with {receipts.slack_edits} edit(s), "
        f"{receipts.mails} mails, {receipts.page_incidents} page incident(s)"
    )
    repeated = f"; repeated: {', '.join(receipts.repeated)}" if receipts.repeated else ""
    return [
        (
            "every delivery is settled, none failed",
            bool(kinds) and not kinds["failed"],
            settled,
        ),
        (TOLD_ONCE, not receipts.repeated, received + repeated),
        (
            "the status page's incident is resolved",
            receipts.page_incidents == receipts.page_resolved == 1,
            f"{receipts.page_resolved} of {receipts.page_incidents}",
        ),
    ]


def _effects_claim(outcome: Outcome) -> tuple[str, bool, str]:
    """The sample refuses to apply one key twice; a step under two keys would show here as two
    effects of the same request, and one that was begun and not finished as pending."""
    ours = [effect for effect in outcome.effects if effect["epoch"] is not None]
    requests = [(effect["method"], effect["path"], str(effect["body"])) for effect in ours]
    settled = all(effect["status"] == "applied" for effect in ours)
    asked = sum(effect["times_requested"] for effect in ours)
    return (
        "each step took effect once",
        bool(ours) and settled and len(set(requests)) == len(requests),
        f"{len(ours)} effects in the sample's ledger, requested {asked} times",
    )


def _closed(seen: Watched) -> str:
    return ", ".join(data.reason for data in seen.incidents("closed")) or "still open"


def summarise(
    outcome: Outcome, verdict: Verdict, reports: dict[str, Path], places: dict[str, Path]
) -> dict[str, Any]:
    """The summary as ``summary.json`` holds it; times are RFC 3339, durations seconds."""
    seen = outcome.watched
    fired = next(iter(seen.triggers("fired")), None)
    started = next(iter(seen.rollbacks("started")), None)
    completed = next(iter(seen.rollbacks("completed")), None)
    return {
        "scenario": NAME,
        "succeeded": verdict.passed,
        "verified": [{"claim": c, "held": held, "found": found} for c, held, found in verdict.claims],
        "trigger": fired
        and {"name": fired.trigger, "component": fired.component, "fired_at": _iso(fired.at)},
        "rollback": _rollback(seen, started, completed),
        "deliveries": [
            {
                "receiver": data.receiver,
                "channel": data.channel,
                "event": data.about,
                "status": data.kind,
                "at": _iso(data.at),
            }
            for data in seen.deliveries()
        ],
        "report": {name: str(path) for name, path in reports.items()},
        "places": {name: str(path) for name, path in places.items()},
        "timings_s": _timings(fired, started, completed),
    }


def _trigger(fired: TriggerEvent | None) -> dict[str, str] | None:
    if fired is None:
        return None
    return {"name": fired.trigger, "component": fired.component, "fired_at": _iso(fired.at)}


def _rollback(
    seen: Watched, started: RollbackEvent | None, completed: RollbackEvent | None
) -> dict[str, Any] | None:
    if started is None:
        return None
    steps = [
        {"id": entry.step.id, "status": entry.step.status, "duration_s": entry.step.duration_s}
        for entry in seen.rollbacks()
        if entry.step is not None and entry.kind in ("step_completed", "step_failed")
    ]
    return {
        "id": started.execution_id,
        "status": completed and completed.status,
        "started_at": _iso(started.at),
        "completed_at": completed and _iso(completed.at),
        "steps": steps,
    }


def _timings(
    fired: TriggerEvent | None, started: RollbackEvent | None, completed: RollbackEvent | None
) -> dict[str, float | None]:
    """From the first breaching second to the end, by what a reader would ask for."""
    began = fired.began if fired else None
    fired_at = fired.at if fired else None
    started_at = started.at if started else None
    completed_at = completed.at if completed else None
    return {
        "breach_to_fired": _seconds(began, fired_at),
        "fired_to_started": _seconds(fired_at, started_at),
        "rollback": _seconds(started_at, completed_at),
        "total": _seconds(began, completed_at),
    }


def _seconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else round((until - since).total_seconds(), 3)


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
