"""Why a compound trigger fired or did not: each change that is named turns what the reference finds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.monitor.domain.compound.definitions import Cascade, CompoundRule, MemberFilter, Reported
from services.monitor.domain.compound.explained import explain_compound, firing_of
from services.monitor.domain.compound.heard import Arrival, Heard, fires
from services.monitor.domain.compound.report_stage import Report
from services.monitor.domain.compound.turning import Turn
from tests.unit.monitor.compound.members import T0, Firing, reference_several, several

FIRST, LAST = T0 + 200, T0 + 420


def _heard(firings: Sequence[Firing], *, live: bool = False, through: int = LAST) -> Heard:
    """As a backtest hears it, or as the live service does: each announcement, 3 s after its second."""
    events = [event for each in firings for event in each.events(through, announced=live)]
    delay = 3.0 if live else 0.0
    arrivals = sorted((Arrival(event.at + delay, event) for event in events), key=lambda each: each.append)
    return Heard(tuple(arrivals), through, 10 if live else 1, 180 if live else None)


def _fires(at_least: int, window: int, firings: Sequence[Firing]) -> bool:
    """By the reference, over every second."""
    firing = False
    for kind, second, _ in reference_several(at_least, window, firings, range(T0, LAST + 1)):
        if second > LAST:
            break
        if second <= FIRST:
            firing = kind == "fired"
        elif kind == "fired":
            return True
    return firing


def _made(seed: int) -> list[Firing]:
    chance = random.Random(seed)  # noqa: S311
    made = []
    for component in "abcde"[: chance.choice([3, 4, 5])]:
        fired = T0 + chance.randrange(0, 400)
        ended = chance.choice([None, None, fired + chance.randrange(20, 200)])
        made.append(Firing(component, fired, ended))
    return made


def _turned(turn: Turn, at_least: int, window: int, firings: Sequence[Firing]) -> bool:
    """What the reference finds with the change made."""
    if turn.setting == "window":
        return _fires(at_least, int(turn.value or 0), firings)
    if turn.setting == "at_least":
        return _fires(int(turn.value or 0), window, firings)
    if turn.setting == "further":
        return _fires(at_least, window, [*firings, Firing("z", int(turn.value or 0))])
    rest = [each for each in firings if each.trigger_id != turn.member]
    (mine,) = [each for each in firings if each.trigger_id == turn.member]
    moved = [] if turn.value is None else [replace(mine, fired=int(turn.value))]
    return _fires(at_least, window, [*rest, *moved])


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_each_change_turns_what_the_reference_finds(seed: int, *, live: bool) -> None:
    firings = _made(seed)
    rule = several(3, 60)
    heard = _heard(firings, live=live)
    found = explain_compound(rule, heard, FIRST, LAST)
    assert found.fired is _fires(3, 60, firings)
    settings = {turn.setting for turn in found.turns}
    for turn in found.turns:
        assert _turned(turn, 3, 60, firings) is not found.fired, turn
    for turn in found.turns:
        if turn.setting in ("window", "at_least"):
            before = replace(
                turn, value=(turn.value or 0) + (1 if (turn.value or 0) < (turn.now or 0) else -1)
            )
            assert _turned(before, 3, 60, firings) is found.fired, turn
    if found.fired:
        assert "at_least" in settings
    else:
        assert settings


def test_there_are_answers_of_both_kinds() -> None:
    fired = [_fires(3, 60, _made(seed)) for seed in range(12)]
    assert {True, False} == set(fired)


def test_who_counts_and_why_the_others_do_not() -> None:
    firings = [
        Firing("a", T0 + 200),
        Firing("b", T0 + 210),
        Firing("c", T0 + 300),
        Firing("d", T0 + 215, severity="low"),
        Firing("b", T0 + 220, trigger="failing"),
    ]
    rule = several(3, 60, members=MemberFilter(severities=("critical",)))
    found = explain_compound(rule, _heard(firings), FIRST, LAST)
    assert (found.fired, found.together) == (False, 2)
    seen = {each.member.trigger_id: each for each in found.members}
    assert [each.counts for each in found.members] == [True, True, False, False, False]
    assert seen[firings[2].trigger_id].missed == "outside the window: 1m40s after the first, not 1m"
    assert seen[firings[3].trigger_id].missed == "does not count: only severity critical does"
    assert seen[firings[4].trigger_id].missed == "its component counts once"
    words = [turn.words for turn in found.turns]
    assert words[0] == "a `window` of 1m40s or more instead of 1m"
    assert "`at_least` 2 components or fewer instead of 3" in words
    assert "members of every severity instead of those of severity critical" in words
    moved = next(turn for turn in found.turns if turn.setting == "member")
    # It need not come together with the first of b: with the second it is as good.
    assert (moved.component, moved.words.endswith("earlier")) == ("c", True)
    assert _turned(moved, 3, 60, [each for each in firings if each.severity == "critical"])


def test_a_firing_is_found_by_its_id() -> None:
    firings = [Firing("a", T0 + 200), Firing("b", T0 + 210, T0 + 300), Firing("c", T0 + 220)]
    rule, heard = several(3, 60), _heard(firings)
    found = explain_compound(rule, heard, FIRST, LAST)
    assert found.firing is not None
    assert firing_of(rule, heard, found.firing.trigger_id) == found.firing
    assert firing_of(rule, heard, found.firing.trigger_id + "x") is None
    assert (found.firing.fired.at, found.firing.ended and found.firing.ended.at) == (T0 + 220, T0 + 300)
    assert [turn.component for turn in found.turns if turn.setting == "member"] == ["a", "b", "c"]


def test_a_cascade_names_who_is_missing() -> None:
    depends_on = (("b", ("a",)), ("c", ("b",)), ("d", ("a",)))
    rule = CompoundRule("cascade", Cascade(3, 60, depends_on))
    firings = [Firing("a", T0 + 210), Firing("b", T0 + 220), Firing("x", T0 + 230)]
    heard = _heard(firings)
    found = explain_compound(rule, heard, FIRST, LAST)
    assert (found.fired, found.together) == (False, 2)
    assert found.members[2].missed == "depends on none of those before it, and none of them on it"
    further = next(turn for turn in found.turns if turn.setting == "further")
    assert further.component == "c"
    assert further.value == T0 + 220
    again = heard.with_events(Firing("c", int(further.value)).events(LAST, announced=False))
    assert fires(rule, again, FIRST, LAST)
    whole = explain_compound(rule, _heard([*firings, Firing("c", T0 + 240)]), FIRST, LAST)
    assert whole.fired
    assert {turn.component for turn in whole.turns if turn.setting == "member"} == {"a", "b", "c"}


def _report(name: str, kind: str, at: int) -> Arrival:
    made = Report(name, kind, "store", float(T0 + at), "ops", "17 differ")  # type: ignore[arg-type]
    return Arrival(made.at, made)


def test_reports_that_were_made_and_those_that_were_not() -> None:
    rule = CompoundRule("corrupted", Reported(("data_corruption",)))
    one = _report("r1", "data_corruption", 250)
    heard = Heard((one, _report("r2", "security_breach", 900)), T0 + 1_000, 10, 180)
    found = explain_compound(rule, heard, FIRST, LAST)
    assert (found.fired, found.together) == (True, 1)
    assert [(turn.setting, turn.member) for turn in found.turns] == [("report", "r1")]
    later = explain_compound(rule, heard, T0 + 900, T0 + 950)
    assert (later.fired, later.together) == (False, 0)
    assert [each.id for each in later.reports] == ["r2"]
    assert [turn.words for turn in later.turns] == ["`report: security_breach` beside data_corruption"]
