"""Whether an execution that has done nothing yet is still wanted, also under the shipped playbook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.executor.adapters.playbook_files import load_playbooks
from services.executor.domain.execution import Entry, ends_execution, fold, is_untouched
from services.executor.domain.plan import execution_id_of
from services.executor.domain.requests import Gates, TriggerFacts, no_longer_wanted

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
GATES = Gates(timedelta(minutes=5), timedelta(minutes=10), timedelta(minutes=5))
PLAYBOOKS = Path(__file__).parents[3] / "config" / "playbooks"


def facts(*, over: str | None = None, age_s: float = 0) -> TriggerFacts:
    return TriggerFacts(
        trigger="p95",
        action="rollback",
        target="pdf_extraction",
        announced_at=NOW - timedelta(seconds=age_s),
        over=over,
        immediate=False,
        settled_by="rb-1",
    )


@pytest.mark.parametrize(
    ("triggers", "why"),
    [
        ([], None),
        ([facts()], None),
        ([facts(over="resolved")], "resolved before anything was started"),
        ([facts(age_s=301)], "301 s ago"),
        # One that was absorbed and still stands is enough.
        ([facts(over="resolved"), facts()], None),
        ([facts(over="resolved"), facts(age_s=301)], "301 s ago"),
    ],
)
def test_what_waits_for_an_execution_keeps_it_wanted(triggers: list[TriggerFacts], why: str | None) -> None:
    found = no_longer_wanted(triggers, GATES, NOW)

    assert (found is None) == (why is None)
    assert (why or "") in (found or "")


def test_the_shipped_playbook_is_untouched_until_its_first_intent_and_then_is_not() -> None:
    playbook = load_playbooks(PLAYBOOKS).by_component["pdf_extraction"]
    first = playbook.steps[0].id
    begun = fold(playbook, [Entry(1, "started", NOW)])
    acted = fold(playbook, [Entry(1, "started", NOW), Entry(2, "step_started", NOW, step_id=first)])
    declined = fold(playbook, [Entry(1, "started", NOW), Entry(2, "refused", NOW, reason="refused_stale")])

    assert playbook.on_failure == "full_system"
    assert is_untouched(playbook, begun)
    assert not is_untouched(playbook, acted)
    assert declined.ended
    assert declined.failure is None


def test_a_refusal_ends_an_execution() -> None:
    assert [ends_execution(kind) for kind in ("started", "refused", "completed")] == [False, True, True]


def test_what_follows_a_declined_execution_has_an_id_of_its_own() -> None:
    ids = {execution_id_of("trigger-1", declined=count) for count in range(3)}

    assert len(ids) == 3
    assert execution_id_of("trigger-1") in ids
