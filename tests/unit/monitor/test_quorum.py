"""``for: {breaching: M, of: N}``: a breach need not be unbroken."""

from __future__ import annotations

import pytest

from services.monitor.domain.language.phases import INACTIVE, Finding, NoData, State, Terms, Verdict, step
from tests.unit.monitor.engine_log import T0, rule, run, run_with_restarts
from tests.unit.monitor.reference import LogRecord, Point

T = 1_000
VERDICTS = {"B": Verdict.BREACH, "b": Verdict.BETWEEN, ".": Verdict.CLEAR, "_": Verdict.NO_DATA}
LETTERS = {"inactive": "i", "pending": "p", "firing": "F"}


def _phases(seen: str, *, quorum: int, of: int, keep: int = 0, no_data: NoData = "hold") -> str:
    terms = Terms(of, keep, 1, no_data, quorum)
    state, phases = INACTIVE, ""
    for second, letter in enumerate(seen):
        state = step(terms, state, Finding(VERDICTS[letter], 1, 1), T + second).state
        phases += LETTERS[state.phase]
    return phases


@pytest.mark.parametrize(
    ("seen", "phases"),
    [
        ("BBB", "ppF"),
        ("B.B.B", "ppppF"),
        ("B..B.B", "pppppp"),
        ("B.....", "pppppi"),
        ("B.BB.", "pppFF"),
        ("BBB..", "ppFFF"),
        ("BBB...", "ppFFFi"),
        ("BBB..B.B", "ppFFFFip"),
        ("BBB..B..", "ppFFFFii"),
        ("BBBbbbbb", "ppFFFFFF"),
        ("BbB.b", "ppppp"),
        ("B_B_B", "ppppF"),
        ("B_____B", "ppppppp"),
        ("B______B", "ppppppip"),
        ("BBB______", "ppFFFFFFF"),
    ],
)
def test_three_of_the_last_five(seen: str, phases: str) -> None:
    assert _phases(seen, quorum=3, of=5) == phases


def test_absence_counts_as_it_is_said_to() -> None:
    assert _phases("BB_", quorum=3, of=5, no_data="breach") == "ppF"
    assert _phases("BBB__", quorum=3, of=5, no_data="ok") == "ppFFF"
    assert _phases("BBB___", quorum=3, of=5, no_data="ok") == "ppFFFi"


def test_it_keeps_firing_for_as_long_as_it_is_told() -> None:
    assert _phases("BBB...." + ".", quorum=3, of=5, keep=2) == "ppFFFFFi"


def test_the_breach_began_with_its_first_evaluation() -> None:
    terms = Terms(5, quorum=3)
    state = INACTIVE
    for second, verdict in enumerate([Verdict.BREACH, Verdict.CLEAR, Verdict.BREACH, Verdict.BREACH]):
        state = step(terms, state, Finding(verdict, 1, 1), T + second).state
    assert state == State("firing", began=T, samples=3, announced=T + 3, history=0b1011)


def test_a_long_history_survives_restarts() -> None:
    slow = rule(window=1, lasting=300, quorum=200)
    log = [
        LogRecord(offset, T0 + offset, (Point("m", "c", T0 + offset, 11.0 if offset % 4 else 1.0),))
        for offset in range(330)
    ]
    whole = run([slow], log)
    assert [(o.at - T0, o.after) for o in whole if o.is_transition] == [(1, "pending"), (266, "firing")]
    assert run_with_restarts([slow], log, lateness=0.0, restarts=list(range(0, 330, 7))) == whole
