"""When the torture kills, and that it admits to have missed."""

from __future__ import annotations

import random
from pathlib import Path

from benchmarks.kill_moments import ANNOUNCEMENTS_S, INCIDENT_S, choose_moment, scenario_entries
from benchmarks.torture import Count, too_few_hits

CONFIG = Path(__file__).parents[3] / "config"


def test_the_journal_of_the_scenario_has_so_many_entries_before_its_end() -> None:
    # started; three requests of two entries; a validation of three; a check of one.
    assert scenario_entries(CONFIG) == 1 + 3 * 2 + 3 + 1


def test_most_kills_of_the_executor_follow_the_journal_and_reach_all_of_it() -> None:
    chance = random.Random(1)  # noqa: S311 - moments, not secrets
    moments = [choose_moment("executor", number, chance, entries=11) for number in range(1, 501)]
    aimed = [moment.entry for moment in moments if moment.entry]

    assert len(aimed) == 400
    assert set(aimed) == set(range(1, 12))
    assert all(0 <= moment.seconds <= INCIDENT_S for moment in moments if not moment.entry)


def test_the_others_are_killed_anywhere_and_while_they_tell_of_the_trigger() -> None:
    chance = random.Random(1)  # noqa: S311 - moments, not secrets
    moments = [choose_moment("notifier", number, chance, entries=11) for number in range(1, 101)]

    assert sum(moment.fired for moment in moments) == 50
    assert all(moment.seconds <= ANNOUNCEMENTS_S for moment in moments if moment.fired)
    assert max(moment.seconds for moment in moments) > ANNOUNCEMENTS_S


def test_a_torture_of_the_executor_that_missed_half_of_its_rollbacks_has_failed() -> None:
    assert too_few_hits({"executor": Count(10, 10, hits=4), "monitor": Count(10, 10, hits=0)}) == ["executor"]
    assert too_few_hits({"executor": Count(10, 10, hits=5)}) == []
    assert too_few_hits({"scenario": Count(10, 10)}) == []
