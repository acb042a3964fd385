"""``backout triggers explain`` for ratios, several conditions, M of N, labels, rates and changes."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from chassis.errors import UsageError
from services.monitor.adapters.explain_source import GroupWanted, from_lines
from services.monitor.domain.explaining.explaining import explain
from services.monitor.domain.explaining.further_flips import with_window
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.rules import Check, Rule, trigger_id
from tests.unit.monitor.engine_log import T0, rule
from tests.unit.monitor.explain_workspace import enter_workspace, explain_json, run_explain
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine, fires_between

LATENESS = 2.0


def _line(point: Point) -> bytes:
    sample = {"metric": point.metric, "component": point.component, "value": point.value, "time": point.time}
    return json.dumps(sample | {"labels": dict(point.labels)}).encode()


def _fires(of: Rule, points: Sequence[Point], first: int, last: int, group: str) -> bool:
    """By the reference engine, one second at a time."""
    log = [LogRecord(number, point.time, (point,)) for number, point in enumerate(points)]
    told = ReferenceEngine([of], LATENESS).run(log)
    return fires_between([each for each in told if each[2] == group], first, last)


ERRORS_AND_SLOW = rule(
    "r", metric="errors", to="requests", aggregate="sum", window=45, when="> 0.2", lasting=30,
    join="all", further=[Check("ms", "p95", 60, Condition(">", 100.0))],
)  # fmt: skip
EITHER = replace(ERRORS_AND_SLOW, join="any")
RATIO = rule("r", metric="errors", to="requests", aggregate="avg", window=45, when="> 0.2", lasting=30)
QUORUM = rule("r", metric="ms", window=40, when="> 100", lasting=60, quorum=40)
RATE = rule("r", metric="ms", aggregate="rate", window=60, when="> 3", lasting=15)
CHANGE = rule("r", metric="ms", aggregate="change", window=100, when="> 0.1", lasting=15)
LABELLED = rule("r", metric="ms", window=40, when="> 100", lasting=30, group_by=["zone"])


def _noise(seed: int, metrics: Sequence[str], zones: Sequence[str]) -> list[Point]:
    """A breach in the middle, with gaps, and with samples that come late."""
    chance = random.Random(seed)  # noqa: S311
    points = []
    for at in range(40):
        bad = 12 <= at < 26
        for metric in metrics:
            for zone in zones:
                if chance.random() < 0.1:
                    continue
                late = chance.choice([0.0] * 8 + [21.0])
                base = {"ms": 110.0 if bad else 90.0, "errors": 30.0 if bad else 14.0, "requests": 100.0}
                value = base[metric] + chance.randrange(-48, 48) / 4
                labels = (("zone", zone),) if zone else ()
                points.append(Point(metric, "a", T0 + 15.0 * at - late, value, labels))
    return points


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("of", "zones"),
    [
        (ERRORS_AND_SLOW, [""]),
        (EITHER, [""]),
        (RATIO, [""]),
        (QUORUM, [""]),
        (RATE, [""]),
        (CHANGE, [""]),
        (LABELLED, ["eu", "us"]),
    ],
    ids=["all", "any", "ratio", "quorum", "rate", "change", "labels"],
)
def test_each_edge_is_the_reference_engines(of: Rule, zones: Sequence[str], seed: int) -> None:
    """Just before the edge the answer stays, at it it turns."""
    points = _noise(seed, sorted(of.metrics), zones)
    labels = {"zone": "us"} if zones[0] else {}
    first, last = T0 + 200, T0 + 450
    recorded = from_lines(map(_line, points), of, GroupWanted("a", labels), LATENESS)
    found = explain(of, recorded, first, last)
    group = "a, zone 'us'" if labels else "a"

    def fires(changed: Rule) -> bool:
        return _fires(changed, points, first, last, group)

    assert str(found.group) == group
    assert found.fired is fires(of)
    assert found.flips
    toward = -1 if found.fired else 1
    for flip in found.flips:
        turned, kept = _changed(of, flip.setting, flip.measure, flip.value, flip.inclusive, found.fired)
        assert fires(turned) is not found.fired, flip
        if kept is not None:
            assert fires(kept) is found.fired, (flip, toward)


def _changed(
    of: Rule, setting: str, measure: str | None, value: float, inclusive: bool, fired: bool
) -> tuple[Rule, Rule | None]:
    """The definition at the edge, and just before it."""
    if setting == "threshold":
        # All conditions here are `>`: a higher threshold is the stricter one.
        beyond = value + (1e-9 if fired else -1e-9) * max(1.0, abs(value))
        return _with(of, measure, value if inclusive else beyond), _with(
            of, measure, value if not inclusive else 2 * value - beyond
        )
    if setting == "window":
        index = [check.words() for check in of.checks].index(measure) if measure else 0
        toward_now = 1 if value < of.checks[index].window else -1
        both = (int(value), int(value) + toward_now)
        edge, before_it = (with_window(of, setting, index, each) for each in both)
        return edge, before_it
    field = {"for": "lasting", "of": "lasting", "breaching": "quorum", "min_samples": "min_samples"}[setting]
    stricter = -1 if setting == "of" else 1
    before = int(value) - (stricter if fired else -stricter)
    terms = [replace(of.terms, **{field: number}) for number in (int(value), before)]
    return replace(of, terms=terms[0]), replace(of, terms=terms[1])


def _with(of: Rule, measure: str | None, threshold: float) -> Rule:
    when = Condition(">", threshold)
    if measure is None or measure == of.checks[0].words():
        return replace(of, when=when)
    return replace(of, further=(replace(of.further[0], when=when),))


RULES = """\
triggers:
  - name: failing
    all:
      - {ratio: {of: errors, to: requests}, aggregate: sum, window: 1m, when: "> 10%"}
      - {metric: ms, aggregate: p95, window: 1m, when: "> 100"}
    for: 30s
  - {name: often, metric: ms, when: "> 100", staleness: 20s, for: {breaching: 20, of: 30}}
  - {name: zonal, metric: ms, when: "> 100", staleness: 20s, for: 30s, group_by: [component, zone]}
  - {name: fresh, metric: ms, when: "> 100", only_within: 1h}
compound_triggers:
  - {name: both, at_least: 2 components, window: 5m}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    points = []
    for at in range(20):
        time, bad = T0 + 10.0 * at, 5 <= at < 15
        points.append(Point("ms", "a", time, 150.0 if bad else 50.0, (("zone", "eu"),)))
        points.append(Point("errors", "a", time, 20.0 if bad else 1.0))
        points.append(Point("requests", "a", time, 100.0))
    return enter_workspace(tmp_path, monkeypatch, RULES, b"\n".join(map(_line, points)) + b"\n")


def _at(trigger: str, seconds: int, *arguments: str) -> list[str]:
    moment = f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"
    return ["--trigger", trigger, "--component", "a", "--at", moment, *arguments]


def test_several_conditions_are_told_to_a_person() -> None:
    result = run_explain(*_at("failing", 120))
    assert result.exit_code == 0, result.output
    assert "failing of a: firing at 2026-01-01T00:02:00Z" in result.stdout
    assert "sum over 1m of errors / requests is 0.2, > 0.1; p95 over 1m of ms is 150, > 100" in result.stdout
    assert "instead of 0.1 for sum over 1m of errors / requests" in result.stdout
    assert "a threshold of 150 or more instead of 100 for p95 over 1m of ms (+50.0 %)" in result.stdout
    assert "SERIES" in result.stdout
    assert "requests" in result.stdout


def test_several_conditions_in_json() -> None:
    answer = explain_json(*_at("failing", 120))
    assert answer["values"] == [0.2, 150.0]
    measures = [flip["measure"] for flip in answer["would_turn_it"] if flip["setting"] == "threshold"]
    assert measures == ["sum over 1m of errors / requests", "p95 over 1m of ms"]
    assert {sample["metric"] for sample in answer["samples"]} == {"ms", "errors", "requests"}


def test_how_many_of_the_last_evaluations_were_breaches() -> None:
    result = run_explain(*_at("often", 65))
    assert "in 16 of the last 30 evaluations; 20 fire" in result.stdout
    assert "a `breaching` of 16s or less instead of 20s" in result.stdout


def test_the_group_is_named_by_its_labels_or_by_an_id() -> None:
    by_label = explain_json(*_at("zonal", 100, "--label", "zone=eu"))
    assert by_label["group"] == {"component": "a", "zone": "eu"}
    assert by_label["fired"] is True
    fired = next(change for change in by_label["transitions"] if change["to"] == "firing")
    by_id = explain_json(fired["id"])
    assert by_id["fired"] is True
    assert by_id["group"] == {"component": "a", "zone": "eu"}
    other = fired["id"].replace(fired["id"].split(":")[1], "a-00000000")
    told = explain_json(other)
    assert "there is no sample of a to evaluate" in told["notes"] or not told["fired"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (_at("both", 100), "both is a compound trigger: leave --component and --label out"),
        (_at("zonal", 100), "zonal has a group for each zone: give --label zone=…"),
        (_at("zonal", 100, "--label", "host=x"), "write NAME=VALUE; zonal is grouped by zone"),
        (["zonal:a:20260101T000050Z"], "zonal is grouped by zone, and the id has no digest of it"),
        ([trigger_id("often", GroupWanted("a").as_group, T0), "--label", "a=b"], "give either an id or"),
    ],
)
def test_wrong_use_is_named(arguments: list[str], words: str) -> None:
    result = run_explain(*arguments)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)
