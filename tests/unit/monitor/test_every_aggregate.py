"""Every aggregate goes every way that a trigger goes, as people go it, and is the same on each: trigger file,
live, backtest, restart, test file, explanation, and compared with what it was before a release."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from cli.triggers import app
from services.monitor.adapters.explain_source import GroupWanted, from_lines
from services.monitor.adapters.rule_files import load_rules
from services.monitor.domain.engine.outcomes import Outcome, rfc3339
from services.monitor.domain.explaining.explaining import explain
from services.monitor.domain.language.aggregates import AGGREGATES, TRAITS, Aggregate
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.rules import Check, Rule
from services.monitor.domain.language.targets import Targets
from tests.unit.monitor.engine_log import T0, run, run_with_restarts, told
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine, value_at

LATENESS, SPAN, EVERY = 2.0, 30, 5
LAST = 100 * EVERY


def _values() -> list[float | None]:
    """Calm, a time of trouble, and a calm in which every other sample is missing. In quarters, whose sums are
    exact: the reference adds them up otherwise."""
    chance = random.Random(3)  # noqa: S311
    found: list[float | None] = []
    for at in range(LAST // EVERY + 1):
        more = chance.uniform(1.0, 4.0) if 40 < at < 70 else 1.0
        found.append(None if at > 75 and at % 2 else round(400.0 * chance.uniform(0.8, 1.2) * more) / 4)
    return found


VALUES = _values()
POINTS = [
    Point("ms", "a", float(T0 + at * EVERY), value) for at, value in enumerate(VALUES) if value is not None
]
LOG = [LogRecord(at, point.time, (point,)) for at, point in enumerate(POINTS)]
LINES = [
    json.dumps({"metric": each.metric, "component": each.component, "value": each.value, "time": each.time})
    for each in POINTS
]
RESTARTS = [1, 2, 20, 43, 44, 45, 60, 75, 84]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "targets.yml").write_text('default: "{component}"\n')
    (tmp_path / "samples.jsonl").write_text("\n".join(LINES) + "\n")
    monkeypatch.chdir(tmp_path)
    for name in ("BACKOUT_CONFIG_DIR", "BACKOUT_MONITOR__ALLOWED_LATENESS_S"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _measured(aggregate: Aggregate, second: int) -> float | None:
    """By the reference: over one window, one sample at a time."""
    return value_at(Check("ms", aggregate, SPAN, Condition(">", 0.0)), POINTS, second)


def _threshold(aggregate: Aggregate) -> float:
    """Between two values that it has, so that it is reached now and then."""
    known = (_measured(aggregate, T0 + at) for at in range(LAST - 2))
    distinct = sorted({value for value in known if value is not None})
    at = len(distinct) * 3 // 4 or len(distinct) - 1
    return (distinct[at - 1] + distinct[at]) / 2


def _write_rule(directory: Path, aggregate: Aggregate, **more: object) -> Rule:
    fields = {
        "name": "odd",
        "metric": "ms",
        "aggregate": aggregate,
        TRAITS[aggregate].span: f"{SPAN}s",
        "when": f"> {_threshold(aggregate)!r}",
        "for": "8s",
        "min_samples": 2,
        "no_data": "ok",
        **more,
    }
    path = directory / "rules.yml"
    path.write_text(yaml.safe_dump({"triggers": [fields]}))
    (rule,) = load_rules([path], targets=Targets(default="{component}"), playbooks=())
    return rule


def _backtest() -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, ["backtest", "--rules", "rules.yml", "--input", "samples.jsonl"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def _shown(outcomes: Iterable[Outcome]) -> list[tuple[str, str, str, float | None]]:
    return [
        (rfc3339(each.at), each.after, each.reason, each.value) for each in outcomes if each.is_transition
    ]


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_live_backtest_and_restarts_tell_the_same(directory: Path, aggregate: Aggregate) -> None:
    rule = _write_rule(directory, aggregate)
    live = run([rule], LOG, lateness=LATENESS)
    assert run_with_restarts([rule], LOG, lateness=LATENESS, restarts=RESTARTS) == live
    assert run_with_restarts([rule], LOG, lateness=LATENESS, restarts=RESTARTS, sweeping=True) == live
    tested = [(each["at"], each["to"], each["reason"], each["value"]) for each in _backtest()]
    assert tested == _shown(live)
    assert {"firing", "inactive"} <= {after for _, after, _, _ in tested}
    for outcome in live:
        assert outcome.value == _measured(aggregate, outcome.at)


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_test_file_expects_what_a_backtest_found(directory: Path, aggregate: Aggregate) -> None:
    _write_rule(directory, aggregate)
    where = {"trigger": "odd", "component": "a"}
    expected = [
        {"at": f"{_seconds(each['at']) - T0}s", **where, "phase": each["to"], "value": each["value"]}
        for each in _backtest()
        if _seconds(each["at"]) > T0
    ]
    written = " ".join("_" if value is None else repr(value) for value in VALUES)
    test = {
        "name": "as found",
        "interval": f"{EVERY}s",
        "input_series": [
            {
                "metric": "ms",
                "component": "a",
                "values": written,
            }
        ],
        "expect": expected,
    }
    (directory / "t.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]}))
    result = CliRunner().invoke(app, ["test", "t.yml"])
    assert (result.exit_code, len(expected) > 2) == (0, True), result.output


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_an_explanation_finds_the_value_and_a_window_that_turns_it(
    directory: Path, aggregate: Aggregate
) -> None:
    rule = _write_rule(directory, aggregate)
    fired = next(each for each in run([rule], LOG, lateness=LATENESS) if each.after == "firing")
    recorded = from_lines([line.encode() for line in LINES], rule, GroupWanted("a"), LATENESS)
    found = explain(rule, recorded, fired.at, fired.at)
    assert (found.fired, found.values) == (True, (fired.value,))
    assert any(flip.setting == "threshold" for flip in found.flips)
    least = min((int(flip.value) for flip in found.flips if flip.setting == "window"), default=None)
    assert least is None or least >= TRAITS[aggregate].least_window
    judged = [seen.breaches for seen in found.seen]
    assert any(judged) is TRAITS[aggregate].is_level


@pytest.mark.parametrize("aggregate", [name for name in AGGREGATES if not TRAITS[name].is_relative])
def test_it_is_compared_with_what_it_was_before_a_release(directory: Path, aggregate: Aggregate) -> None:
    """In the middle of the calm before the trouble; the release makes a derived trigger of it."""
    rule = _write_rule(
        directory, aggregate, when="> 5%", baseline={"window": "2m", "before": "release"}, no_data="hold"
    )
    at = next(index for index, point in enumerate(POINTS) if point.time > T0 + 190)
    release = LogRecord(1_000, POINTS[at].time, release=("a", POINTS[at].time))
    log = [LogRecord(index, record.append, record.points, None, record.release)
           for index, record in enumerate([*LOG[:at], release, *LOG[at:]])]  # fmt: skip
    reference = ReferenceEngine([rule], LATENESS)
    live = run([rule], log, lateness=LATENESS)
    assert told(live) == reference.run(log)
    assert run([rule], log, lateness=LATENESS, sweeping=True) == live
    assert run_with_restarts([rule], log, lateness=LATENESS, restarts=RESTARTS) == live
    # The number of samples is what it was; everything else was disturbed.
    assert any(each.after == "firing" for each in live) is (aggregate != "count")


def _seconds(moment: str) -> int:
    return int(np.datetime64(moment.removesuffix("Z"), "s").astype(np.int64))
