"""``backout triggers explain``: the account is true, and its nearest changes are the nearest."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from chassis.errors import UsageError
from cli.triggers import app
from services.monitor.adapters.explain_source import GroupWanted, from_lines
from services.monitor.domain.explaining.explaining import Explanation, explain
from services.monitor.domain.explaining.flips import Change
from services.monitor.domain.explaining.percentages import percent
from services.monitor.domain.explaining.recorded import Recorded
from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.rules import Rule
from tests.unit.monitor.engine_log import T0, rule
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine, fires_between

LASTING: tuple[Aggregate, ...] = ("avg", "min", "max", "sum", "p50", "p95")
RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", clear: "< 80", for: 1m, staleness: 40s, min_samples: 3}
"""


def _line(at: float, value: float, component: str = "a", metric: str = "ms") -> bytes:
    return json.dumps({"metric": metric, "component": component, "value": value, "time": T0 + at}).encode()


def _recorded(of: Rule, values: dict[float, float], lateness: float = 2.0) -> Recorded:
    lines = [_line(at, value, metric=of.metric) for at, value in values.items()]
    return from_lines(lines, of, GroupWanted("a"), lateness)


def _firing_between(of: Rule, values: dict[float, float], first: int, last: int) -> bool:
    """By the reference engine, one second at a time."""
    log = [
        LogRecord(number, T0 + at, (Point(of.metric, "a", T0 + at, value),))
        for number, (at, value) in enumerate(values.items())
    ]
    return fires_between(ReferenceEngine([of], 2.0).run(log), first, last)


def _episode(of: Rule, values: dict[float, float]) -> Explanation:
    end = int(T0 + max(values)) - 2
    return explain(of, _recorded(of, values), T0, end)


def _flip(found: Explanation, setting: str) -> Change | None:
    return next((flip for flip in found.flips if flip.setting == setting), None)


SLOW = rule("slow", metric="ms", when="> 100", lasting=60, min_samples=3, window=40)
BREACH = {15.0 * at: value for at, value in enumerate([50, 50, *[120] * 3, *[140] * 4, 110, *[50] * 6])}


def test_what_fired_and_for_how_long() -> None:
    found = explain(SLOW, _recorded(SLOW, BREACH), T0 + 90, T0 + 90)
    assert found.fired
    assert (found.state.phase, found.values, found.lasted) == ("firing", (140.0,), 60)
    assert [change.after for change in found.changes_of_phase] == ["pending", "firing"]
    assert [(seen.offset, seen.value, seen.breaches) for seen in found.seen[:3]] == [
        (1, 50.0, False),
        (2, 50.0, False),
        (3, 120.0, True),
    ]


def test_a_breach_that_began_long_before_has_its_for() -> None:
    """Ten minutes of it, and asked about one second."""
    values = {15.0 * at: 50.0 if at < 4 else 120.0 for at in range(48)}
    found = explain(SLOW, _recorded(SLOW, values), T0 + 700, T0 + 700)
    lasting = _flip(found, "for")
    assert lasting is not None
    assert lasting.value == 641
    for seconds in (640, 641):
        changed = replace(SLOW, terms=replace(SLOW.terms, lasting=seconds))
        assert _firing_between(changed, values, T0 + 700, T0 + 700) is (seconds == 640)


def test_the_second_asked_about_is_the_last_one_evaluated() -> None:
    before = explain(SLOW, _recorded(SLOW, BREACH), T0 + 89, T0 + 89)
    assert not before.fired
    assert (before.state.phase, before.lasted, before.evaluated) == ("pending", 59, T0 + 89)
    # By the samples up to then: four of 120 and more, the last of 140.
    assert [seen.value for seen in before.seen][-1] == 140.0


def test_the_nearest_changes_that_keep_it_from_firing() -> None:
    found = _episode(SLOW, BREACH)
    assert found.fired
    by_setting = {flip.setting: flip for flip in found.flips}
    # At 120 the breach is that of the four samples of 140 and lasts 60 s up to the one of 110.
    assert by_setting["threshold"].value == 120.0
    assert by_setting["threshold"].words == "a threshold of 120 or more instead of 100 (+20.0 %)"
    assert by_setting["for"].value == 120
    assert by_setting["min_samples"].value == 9


def test_the_nearest_changes_that_make_it_fire() -> None:
    of = replace(SLOW, when=Condition(">", 130.0))
    found = explain(of, _recorded(of, BREACH), T0 + 110, T0 + 110)
    assert not found.fired
    by_setting = {flip.setting: flip for flip in found.flips}
    assert by_setting["threshold"].words == "a threshold below 120 instead of 130 (-7.7 %)"
    assert by_setting["for"].words == "a `for` of 35s or less instead of 1m"
    assert "min_samples" not in by_setting


def test_nothing_turns_it_without_samples() -> None:
    found = explain(SLOW, _recorded(SLOW, {0.0: 50.0, 500.0: 50.0}), T0 + 400, T0 + 400)
    assert (found.fired, found.values, found.flips) == (False, (None,), [])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("aggregate", ["last", "avg", "max", "min", "p95", "sum"])
@pytest.mark.parametrize("operator", [">", "<="])
def test_each_edge_is_the_reference_engines(seed: int, aggregate: Aggregate, operator: Any) -> None:
    """Over noise with late samples: just before the edge the answer stays, at it it turns."""
    chance = random.Random(seed)  # noqa: S311
    values: dict[float, float] = {}
    for at in range(40):
        base = 110.0 if 12 <= at < 26 else 90.0
        late = chance.choice([0.0] * 8 + [21.0])
        values[15.0 * at + chance.choice([0.0, 0.5]) - late] = base + chance.randrange(-48, 48) / 4
    threshold = 300.0 if aggregate == "sum" else 100.0
    of = rule(
        "r", metric="ms", aggregate=aggregate, window=45, lasting=chance.choice([0, 45, 90]), min_samples=2
    )
    of = replace(of, when=Condition(operator, threshold))
    first, last = T0 + 200, T0 + 450
    found = explain(of, _recorded(of, values), first, last)

    def fires(changed: Rule) -> bool:
        return _firing_between(changed, values, first, last)

    assert found.fired is fires(of)
    assert found.flips
    threshold_flip = _flip(found, "threshold")
    if threshold_flip is not None:
        edge = threshold_flip.value
        outward = 1e9 if (operator == ">") is found.fired else -1e9
        turned = edge if threshold_flip.inclusive else float(np.nextafter(edge, outward))
        kept = float(np.nextafter(edge, -outward)) if threshold_flip.inclusive else edge
        assert fires(replace(of, when=Condition(operator, turned))) is not found.fired
        assert fires(replace(of, when=Condition(operator, kept))) is found.fired
    for setting in ("for", "min_samples"):
        flip = _flip(found, setting)
        if flip is not None:
            field = "lasting" if setting == "for" else "min_samples"
            toward = -1 if found.fired else 1
            turned_terms = replace(of.terms, **{field: int(flip.value)})
            kept_terms = replace(of.terms, **{field: int(flip.value) + toward})
            assert fires(replace(of, terms=turned_terms)) is not found.fired
            assert fires(replace(of, terms=kept_terms)) is found.fired


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config" / "rollback").mkdir(parents=True)
    (tmp_path / "config" / "targets.yml").write_text('default: "{component}"\n')
    (tmp_path / "config" / "rollback" / "triggers.yml").write_text(RULES)
    values = [50, 50, *[120] * 8, 90, 50, 50, 50, 50]
    lines = [_line(15 * at, value) for at, value in enumerate(values)]
    lines += [_line(15 * at, 500.0, component="b") for at in range(20)]
    (tmp_path / "samples.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    monkeypatch.chdir(tmp_path)
    for name in ("BACKOUT_CONFIG_DIR", "BACKOUT_MONITOR__ALLOWED_LATENESS_S"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


@pytest.mark.usefixtures("directory")
def test_an_id_of_the_backtest_is_explained_to_a_person() -> None:
    result = _explain("slow:a:20260101T000030Z", "--input", "samples.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "slow of a: fired at 2026-01-01T00:01:30Z" in result.stdout
    assert "it fired 1m after the breach began, and was firing for 1m15s" in result.stdout
    assert "pending → firing  breach_lasted" in result.stdout
    assert "a threshold of 120 or more instead of 100" in result.stdout
    assert "3     2026-01-01T00:00:30.000Z  120    breaches" in result.stdout


@pytest.mark.usefixtures("directory")
def test_json_holds_all_of_it() -> None:
    answer = json.loads(_explain("slow:a:20260101T000030Z", "--input", "samples.jsonl", "-o", "json").stdout)
    assert answer["fired"] is True
    assert [each["to"] for each in answer["transitions"]] == ["pending", "firing", "inactive"]
    assert answer["samples"][2] == {
        "offset": 3,
        "time": "2026-01-01T00:00:30.000Z",
        "metric": "ms",
        "labels": {},
        "value": 120.0,
        "breaches": True,
        "late": False,
    }
    assert [each["setting"] for each in answer["would_turn_it"]] == ["threshold", "for", "min_samples"]
    assert answer["notes"] == []


@pytest.mark.usefixtures("directory")
def test_why_it_did_not_fire() -> None:
    arguments = ("--trigger", "slow", "--component", "a", "--at", "2026-01-01T00:01:20Z")
    result = _explain(*arguments, "--input", "samples.jsonl")
    assert result.exit_code == 0, result.stderr
    assert "slow of a: not firing at 2026-01-01T00:01:20Z" in result.stdout
    assert "counts for 50s of 1m; 4 of 3 breaching samples" in result.stdout
    assert "a `for` of 50s or less instead of 1m" in result.stdout
    # Below 80 the clear threshold would be in the way.
    assert "a threshold below 50 instead of 100 (-50.0 %); `clear: < 80` would have to move" in result.stdout


@pytest.mark.usefixtures("directory")
def test_an_id_that_these_samples_do_not_have_is_said() -> None:
    result = _explain("slow:a:20260101T000100Z", "--input", "samples.jsonl")
    assert "has no breach slow:a:20260101T000100Z that fires" in result.stdout
    silent = _explain("slow:nobody:20260101T000100Z", "--input", "samples.jsonl")
    assert silent.exit_code == 0
    assert "there is no sample of nobody to evaluate" in silent.stdout


@pytest.mark.usefixtures("directory")
def test_what_cannot_be_read_is_named_as_in_a_backtest() -> None:
    Path("broken.jsonl").write_bytes(b"\n" + _line(0, 50) + b"\nnonsense\n" * 25)
    result = _explain(
        *("--trigger", "slow", "--component", "a", "--at", "2026-01-01T00:00:00Z", "--input", "broken.jsonl")
    )
    assert result.exit_code == 0
    assert result.stderr.startswith("line 3: invalid_json: ")
    assert result.stderr.endswith("… and 5 more that could not be read\n")


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give an id, or --trigger, --component and --at"),
        (("--trigger", "slwo"), "there is no trigger 'slwo'. Known are slow"),
        (("x",), "not a trigger's id"),
        (("slwo:a:20260101T000030Z",), "there is no trigger 'slwo'. Known are slow"),
        (("slow:a:20260101T000030Z", "--at", "1"), "give either an id or --trigger"),
        (("--trigger", "slow", "--component", "a", "--at", "noon"), "--at noon: write 2026-01-01"),
        (("slow:a:20260101T000030Z", "--look-back", "x"), "--look-back x"),
        (("slow:a:20260101T000030Z", "--input", "none.jsonl"), "cannot read none.jsonl"),
    ],
)
def test_wrong_use_is_named(arguments: tuple[str, ...], words: str) -> None:
    result = _explain(*arguments)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)


@pytest.mark.parametrize("aggregate", ["last", "avg", "count", "rate"])
def test_before_the_first_sample_there_is_no_data(aggregate: Aggregate) -> None:
    """Other samples made the second due; those of the trigger came later."""
    of = rule("r", metric="ms", aggregate=aggregate, when="> 100")
    lines = [_line(0, 1.0, metric="other"), _line(100, 1.0, metric="other"), _line(200, 150.0)]
    found = explain(of, from_lines(lines, of, GroupWanted("a"), 2.0), T0 + 50, T0 + 50)
    assert (found.fired, found.state.phase, found.values) == (False, "inactive", (None,))


@pytest.mark.parametrize(
    "of",
    [
        *(rule("r", metric="ms", aggregate=each, window=30, when="> 100", lasting=5) for each in LASTING),
        rule("r", metric="ms", aggregate="rate", window=30, when="> 1", lasting=5),
        rule("r", metric="ms", aggregate="avg", window=30, to="all", when="> 1", lasting=5),
    ],
    ids=[*LASTING, "rate", "ratio"],
)
def test_the_for_that_turns_a_time_is_told_whatever_is_measured(of: Rule) -> None:
    """Whichever `for` it is, the one told turns the answer at that time, and a second less does not."""
    values = [50, 60, *[150 + 40 * at for at in range(12)]]
    lines = [_line(10.0 * at, value) for at, value in enumerate(values)]
    lines += [_line(10.0 * at, 60.0, metric="all") for at in range(len(values))]
    lines.sort(key=lambda line: json.loads(line)["time"])
    at = T0 + 90

    def fires(lasting: int) -> bool:
        changed = replace(of, terms=replace(of.terms, lasting=lasting))
        return explain(changed, from_lines(lines, changed, GroupWanted("a"), 2.0), at, at).fired

    found = explain(of, from_lines(lines, of, GroupWanted("a"), 2.0), at, at)
    flip = _flip(found, "for")
    assert found.fired
    assert flip is not None
    assert (fires(int(flip.value)), fires(int(flip.value) - 1)) == (False, True)


def test_a_firing_one_that_is_not_clear_yet_is_told_to_be_neither(directory: Path) -> None:
    lines = [_line(10.0 * at, 150.0 if at < 10 else 90.0) for at in range(15)]
    (directory / "neither.jsonl").write_bytes(b"\n".join(lines))
    at = ["--trigger", "slow", "--component", "a", "--at", "2026-01-01T00:02:00Z"]
    result = CliRunner().invoke(app, ["explain", *at, "--input", "neither.jsonl"])
    assert "it is firing: the value is 90, neither > 100 nor < 80" in result.stdout


def test_per_cent_that_say_nothing_are_left_out() -> None:
    values = {10.0 * at: 1e300 for at in range(15)}
    found = _episode(SLOW, values)
    flip = _flip(found, "threshold")
    assert flip is not None
    assert flip.words == "a threshold of 1e+300 or more instead of 100"
    assert percent(1e300) == "+1e+300 times"
    assert percent(0.6) == "+60 %"


def test_a_group_that_there_was_no_room_for_is_said(directory: Path) -> None:
    rules = RULES.replace("min_samples: 3", "min_samples: 3, group_by: [component, zone], max_groups: 2")
    (directory / "few.yml").write_text(rules)
    lines = [
        {"metric": "ms", "component": "a", "labels": {"zone": zone}, "value": 150.0, "time": T0 + 10 * at}
        for at in range(15)
        for zone in ("z1", "z2", "z3")
    ]
    (directory / "zones.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def notes(zone: str) -> Any:
        at = ["--trigger", "slow", "--component", "a", "--label", f"zone={zone}"]
        at += ["--at", "2026-01-01T00:02:00Z", "--rules", "few.yml", "--input", "zones.jsonl", "-o", "json"]
        return json.loads(CliRunner().invoke(app, ["explain", *at]).stdout)["notes"]

    assert notes("z2") == []
    assert "`max_groups` is 2: the monitor does not evaluate this group" in notes("z3")[0]
