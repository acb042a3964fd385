"""``backout triggers test`` over the whole language: values of every kind of trigger, labels, compound
triggers, releases and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chassis.errors import ConfigErrors
from cli.triggers import app
from tests.unit.monitor.workspace import enter

RULES = """\
triggers:
  - {name: ratio, ratio: {of: errors, to: requests}, aggregate: sum, window: 20s, when: "> 10%"}
  - name: failing
    all:
      - {ratio: {of: errors, to: requests}, aggregate: sum, window: 20s, when: "> 10%"}
      - {metric: ms, aggregate: max, window: 30s, when: "> 100"}
    for: 20s
  - name: either
    any:
      - {metric: ms, aggregate: avg, window: 20s, when: "> 1000"}
      - {metric: errors, aggregate: count, window: 20s, when: "> 1"}
  - {name: often, metric: ms, when: "> 100", staleness: 20s, for: {breaching: 5, of: 20}}
  - {name: rate, metric: requests, aggregate: rate, window: 30s, when: "> 1"}
  - {name: change, metric: ms, aggregate: change, window: 50s, when: "> 0.2"}
  - {name: zonal, metric: ms, when: "> 100", staleness: 20s, group_by: [component, zone, host]}
  - {name: slower, metric: ms, baseline: {aggregate: avg, window: 1m}, staleness: 20s, when: "> 50%"}
compound_triggers:
  - {name: two, at_least: 2 components, window: 30s, members: {triggers: [zonal]}}
  - {name: corrupted, report: data_corruption, immediate: true}
"""

BASELINES = """
triggers:
  - name: worse
    all:
      - {metric: ms, aggregate: avg, window: 20s, baseline: {aggregate: avg, window: 1m}, when: "> 50%"}
      - {metric: requests, aggregate: rate, window: 30s, baseline: {aggregate: avg, window: 1m}, when: "> 9%"}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return enter(tmp_path, monkeypatch, RULES)


def _run(body: str, *arguments: str) -> Result:
    Path("t.yml").write_text("rule_files: [rules.yml]\ntests:\n  - name: n\n    interval: 10s\n" + body)
    return CliRunner().invoke(app, ["test", "t.yml", *arguments])


def _passes(body: str) -> None:
    result = _run(body)
    assert result.exit_code == 0, result.stdout + repr(result.exception)


def _mistakes(body: str) -> str:
    result = _run(body)
    assert isinstance(result.exception, ConfigErrors), result.stdout
    return str(result.exception)


SERIES = """\
    input_series:
      - {metric: errors, component: a, values: "1x3 30x4 1x3"}
      - {metric: requests, component: a, values: "100+20x9"}
      - {metric: ms, component: a, values: "50x3 150x4 50x3"}
"""


def test_values_of_every_kind_of_trigger() -> None:
    """Worked out by hand from the samples of the windows."""
    _passes(
        SERIES
        + """\
    expect:
      # (1 + 30) of (140 + 160), (30 + 30) of (160 + 180): what is of one second is seen at once.
      - {at: 30s, trigger: ratio, component: a, phase: firing, value: 0.10333333333333333}
      - {at: 40s, trigger: ratio, component: a, phase: firing, value: 0.17647058823529413}
      - {at: 40s, trigger: failing, component: a, phase: pending, values: [0.17647058823529413, 150]}
      - {at: 50s, trigger: failing, component: a, phase: firing}
      - {at: 10s, trigger: either, component: a, phase: firing, values: [50, 2]}
      - {at: 1m59s, trigger: either, component: a, phase: inactive, values: [null, null]}
      - {at: 34s, trigger: often, component: a, phase: firing, value: 150}
      # 20 more every 10 s.
      - {at: 30s, trigger: rate, component: a, phase: firing, value: 2}
      - {at: 40s, trigger: change, component: a, phase: firing, value: 2}
      - {at: 0s, trigger: change, component: a, phase: inactive, value: null}
"""
    )


def test_a_wrong_value_is_told_with_what_is_there() -> None:
    result = _run(
        SERIES
        + """\
    expect:
      - {at: 40s, trigger: failing, component: a, phase: firing, values: [0.2, 150]}
"""
    )
    assert result.exit_code == 1
    assert "- expected 40s failing of a: firing, values 0.2, 150" in result.stdout
    assert "+ found    pending, values 0.17647058823529413, 150" in result.stdout
    assert "the nearest time at which it is firing: 50s" in result.stdout
    assert "sum over 20s of errors / requests is 0.17647058823529413; max over 30s of ms" in result.stdout
    failure = json.loads(
        _run(
            SERIES + "    expect:\n      - {at: 5s, trigger: often, component: a, phase: firing}\n",
            "-o",
            "json",
        ).stdout
    )["tests"][0]["failures"][0]
    assert failure["nearest"] == "34s"


def test_a_phase_that_never_is_and_the_nearest_transition() -> None:
    never = _run(SERIES + "    expect:\n      - {at: 40s, trigger: rate, component: a, phase: pending}\n")
    assert "it is never pending in this test" in never.stdout
    moved = _run(
        SERIES
        + """\
    expect_transitions:
      - {at: 31s, trigger: ratio, component: a, to: firing}
      - {at: 1m20s, trigger: ratio, component: a, to: inactive}
"""
    )
    assert "the nearest to firing: 30s ratio of a: inactive → firing (breach_began)" in moved.stdout


def test_each_condition_is_compared_with_its_own_baseline() -> None:
    """20 requests more each 10 s before the release, 30 more after it: half as much again."""
    Path("rules.yml").write_text(BASELINES)
    _passes("""\
    input_series:
      - {metric: ms, component: a, values: "100x12 180x12"}
      - {metric: requests, component: a, values: "0+20x12 270+30x11"}
    releases: [{component: a, at: 2m}]
    expect:
      - {at: 3m, trigger: worse, component: a, phase: firing, values: [0.8, 0.5]}
      - {at: 1m50s, trigger: worse, component: a, phase: inactive, values: [null, null]}
""")


def test_releases_and_what_is_compared_with_them() -> None:
    _passes("""\
    input_series: [{metric: ms, component: a, values: "100x6 160x6 100x2"}]
    releases: [{component: a, at: 1m}]
    expect:
      - {at: 50s, trigger: slower, component: a, phase: inactive, value: null}
      - {at: 1m, trigger: slower, component: a, phase: firing, value: 0.6}
      - {at: 2m, trigger: slower, component: a, phase: inactive, value: 0}
""")


ZONES = """\
    input_series:
      - {metric: ms, component: a, values: "50x3 150x7", labels: {zone: eu, host: "1"}}
      - {metric: ms, component: a, values: "50x10", labels: {zone: us, host: "1"}}
      - {metric: ms, component: a, values: "50x10", labels: {zone: us, host: "2"}}
      - {metric: ms, component: b, values: "50x5 150x5"}
    expect:
"""


def test_labels_tell_groups_of_one_component_apart() -> None:
    """As many as needed are enough; a component with one group needs none."""
    _passes(
        ZONES
        + """\
      - {at: 40s, trigger: zonal, component: a, labels: {zone: eu}, phase: firing, value: 150}
      - {at: 40s, trigger: zonal, component: a, labels: {zone: us, host: "2"}, phase: inactive, value: 50}
      - {at: 50s, trigger: zonal, component: b, phase: firing}
    expect_transitions:
      - {at: 30s, trigger: zonal, component: a, labels: {zone: eu}, to: firing}
"""
    )


@pytest.mark.parametrize(
    ("expected", "words", "mend"),
    [
        (
            "{at: 40s, trigger: zonal, component: a, phase: firing}",
            "zonal has 3 groups of a that this fits: {host: '1', zone: 'eu'}, ",
            "Say which one is meant: `labels: {host: '1', zone: 'eu'}`",
        ),
        (
            "{at: 40s, trigger: zonal, component: a, labels: {zone: us}, phase: firing}",
            "zonal has 2 groups of a that this fits",
            "`labels: {host: '1', zone: 'us'}`",
        ),
        (
            "{at: 40s, trigger: zonal, component: a, labels: {zone: asia}, phase: firing}",
            "no input series makes such a group of a",
            "Groups of this test: {host: '1', zone: 'eu'}",
        ),
        (
            "{at: 40s, trigger: zonal, component: a, labels: {rack: x}, phase: firing}",
            "zonal is grouped by host, zone, not by 'rack'",
            "Name one of host, zone",
        ),
        (
            "{at: 40s, trigger: often, component: a, labels: {zone: x}, phase: firing}",
            "often is grouped by the component alone, not by 'zone'",
            "Leave `labels` out",
        ),
        ("{at: 40s, trigger: zonal, phase: firing}", "names no component", "one of a, b"),
        (
            "{at: 40s, trigger: two, phase: pending}",
            "two is a compound trigger, which is never pending",
            "Write inactive or firing",
        ),
        (
            "{at: 40s, trigger: two, component: a, phase: firing}",
            "two is a compound trigger, which is of the whole system",
            "Leave `component` out, or write full_system",
        ),
        (
            "{at: 40s, trigger: two, labels: {zone: a}, phase: firing}",
            "two is a compound trigger, which has no labels",
            "Leave `labels` out",
        ),
        (
            "{at: 40s, trigger: either, component: a, phase: firing, values: [1]}",
            "either has 2 conditions, not 1",
            "Write one value for each, in their order",
        ),
        (
            "{at: 40s, trigger: either, component: a, phase: firing, value: 1, values: [1, 2]}",
            "stands beside `value`",
            "Leave one of them out",
        ),
    ],
)
def test_mistakes_name_place_and_mend(expected: str, words: str, mend: str) -> None:
    text = _mistakes(f"{ZONES}      - {expected}\n")
    line = next(each for each in text.splitlines() if words in each)
    assert line.startswith("t.yml:11:")
    assert mend in text


def test_a_compound_trigger_as_a_whole() -> None:
    _passes(
        ZONES
        + """\
      - {at: 49s, trigger: two, phase: inactive, value: 1}
      - {at: 50s, trigger: two, phase: firing, value: 2}
      - {at: 50s, trigger: two, component: full_system, phase: firing}
    expect_transitions:
      - {at: 50s, trigger: two, from: inactive, to: firing, reason: enough_firing}
"""
    )
    result = _run(ZONES + "      - {at: 45s, trigger: two, phase: firing, value: 2}\n")
    assert "- expected 45s two of full_system: firing, value 2" in result.stdout
    assert "+ found    inactive, value 1" in result.stdout
    assert "the nearest time at which it is firing: 50s" in result.stdout
    apart = ZONES.replace('"50x5 150x5"', '"50x7 150x3"')
    _passes(apart + "      - {at: 1m30s, trigger: two, phase: inactive, value: 2}\n")


def test_reports_are_events_at_times() -> None:
    body = """\
    reports:
      - {kind: data_corruption, component: store, at: 1m, by: ops, reason: "17 differ"}
      - {kind: data_corruption, component: store, at: 2m}
      - {kind: security_breach, component: store, at: 30s}
    expect:
      - {at: 59s, trigger: corrupted, phase: inactive, value: 0}
      - {at: 1m, trigger: corrupted, phase: firing, value: 1}
      - {at: 2m, trigger: corrupted, phase: firing, value: 2}
      - {at: 11m59s, trigger: corrupted, phase: firing}
    expect_transitions:
      - {at: 1m, trigger: corrupted, to: firing, reason: reported}
      - {at: 12m, trigger: corrupted, to: inactive, reason: report_expired}
"""
    _passes(body)
    wrong = _run(body.replace("at: 59s", "at: 1m1s"))
    assert "ops reported data corruption of store" in wrong.stdout
    assert "data_corruption" in _mistakes(
        body.replace(
            "kind: data_corruption, component: store, at: 1m", "kind: fire, component: store, at: 1m"
        )
    )
    assert "has neither samples nor reports" in _mistakes("    expect: []\n")


def test_values_with_a_mistake_are_the_only_mistake() -> None:
    told = _mistakes("""\
    input_series: [{metric: ms, component: a, values: "1 oops"}]
    expect: [{at: 5s, trigger: often, component: a, phase: inactive}]
""")
    assert "oops" in told
    assert "no input series is of the component" not in told


def test_a_time_without_a_unit_is_told_to_have_none() -> None:
    told = _mistakes(SERIES + "    expect: [{at: 5, trigger: often, component: a, phase: inactive}]\n")
    assert "5 has no unit" in told
    assert "in quotes" not in told
