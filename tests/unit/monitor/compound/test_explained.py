"""Why a compound trigger fired or did not: each change that is named turns what the reference finds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.monitor.domain.compound import heard as compound_heard
from services.monitor.domain.compound.definitions import Cascade, CompoundRule, MemberFilter, Reported
from services.monitor.domain.compound.explained import explain_compound, firing_of
from services.monitor.domain.compound.heard import Arrival, Heard, begun_at, fires
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


def test_what_was_told_long_before_need_not_be_read() -> None:
    """A member that has been firing all along is announced each minute."""
    day = 86_400
    firings = [
        Firing("a", T0 - day - 500),
        Firing("b", T0 + 210),
        Firing("c", T0 + 220),
        Firing("d", T0 + 230),
    ]
    rule, heard = several(3, 60), _heard(firings, live=True)
    less = heard.between(FIRST - 60 - day, LAST + 3_600)
    assert len(less.arrivals) < len(heard.arrivals)
    whole, short = (explain_compound(rule, each, FIRST, LAST) for each in (heard, less))
    assert (short.fired, short.firing, short.turns) == (True, whole.firing, whole.turns)
    assert [each.counts for each in short.members] == [each.counts for each in whole.members]


def test_many_members_are_looked_at_in_time() -> None:
    """A storm of forty components that come one after the other, each too late for the one before."""
    firings = [Firing(f"c{at:02}", T0 + 55 * at) for at in range(40)]
    last = T0 + 55 * 40
    found = explain_compound(several(3, 60), _heard(firings, live=True, through=last), last - 120, last)
    assert (found.fired, found.together) == (False, 2)
    nearest = next(turn for turn in found.turns if turn.setting == "member")
    assert abs((nearest.value or 0) - (nearest.now or 0)) == 50
    began = begun_at(several(3, 60), _heard(firings, live=True, through=last), last - 180)
    assert began.begun is not None
    assert len(began.arrivals) < 200


@pytest.mark.parametrize("seed", range(12))
def test_what_came_before_can_be_recalled(seed: int) -> None:
    """Whatever is changed after that, the outcome is that of reading everything."""
    firings = _made(seed)
    rule, heard = several(2, 60), _heard(firings, live=True)
    near = begun_at(rule, heard, FIRST)
    assert fires(rule, near, FIRST, LAST) is fires(rule, heard, FIRST, LAST)
    assert [each.trigger_id for each in firings_of(rule, near) if each.fired.at >= FIRST] == [
        each.trigger_id for each in firings_of(rule, heard) if each.fired.at >= FIRST
    ]
    for each in firings:
        less = (near.without(each.trigger_id), heard.without(each.trigger_id))
        if each.fired >= FIRST:
            assert fires(rule, less[0], FIRST, LAST) is fires(rule, less[1], FIRST, LAST)


def firings_of(rule: CompoundRule, heard: Heard) -> list[compound_heard.Firing]:
    return list(compound_heard.firings(compound_heard.decide(rule, heard)))


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
