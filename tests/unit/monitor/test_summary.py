"""What a backtest sums up: firings, what they would have rolled back, and how much it could see."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from chassis.errors import UsageError
from cli.backtest_input import offsets_of
from cli.triggers import app
from services.monitor.domain.engine.series import SeriesName
from services.monitor.domain.trials.coverage import Coverage
from tests.unit.monitor.engine_log import T0, rule

RULES = """\
triggers:
  - {name: slow, metric: ms, when: "> 100", for: 20s, staleness: 30s}
  - {name: data, metric: wrong, when: "> 0", for: 10s, staleness: 30s, immediate: true}
"""
TARGETS = 'targets: [{metric: wrong, playbook: full}]\ndefault: "{component}"\n'


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config" / "playbooks").mkdir(parents=True)
    (tmp_path / "config" / "playbooks" / "full.yml").write_text("playbook: full\n")
    (tmp_path / "config" / "targets.yml").write_text(TARGETS)
    (tmp_path / "rules.yml").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    for name in ("BACKOUT_CONFIG_DIR", "BACKOUT_MONITOR__ALLOWED_LATENESS_S"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _line(at: int, value: float, metric: str = "ms", component: str = "a") -> str:
    return json.dumps({"metric": metric, "component": component, "value": value, "time": T0 + at})


def _backtest(lines: list[str], *arguments: str) -> Result:
    Path("samples.jsonl").write_text("\n".join(lines) + "\n")
    common = ("--rules", "rules.yml", "--input", "samples.jsonl", "--summary-json", "summary.json")
    return CliRunner().invoke(app, ["backtest", *common, *arguments])


def _lines() -> list[str]:
    # `slow` fires from 40 to 60 and from 140 on; between 90 and 120 there is no data for 1 s.
    slow = {20: 150, 40: 150, 60: 50, 80: 150, 90: 50, 120: 150, 140: 150, 160: 150}
    lines = [_line(at, 50) for at in range(0, 20, 10)]
    lines += [_line(at, value) for at, value in slow.items()]
    lines += [_line(at, 1, "wrong") for at in range(0, 40, 10)]
    return sorted(lines, key=lambda line: float(json.loads(line)["time"]))


@pytest.mark.usefixtures("directory")
def test_firings_and_their_rollbacks() -> None:
    result = _backtest(_lines(), "--until", str(T0 + 182))
    assert result.exit_code == 0, result.stderr
    summary: dict[str, Any] = json.loads(Path("summary.json").read_text())
    data, slow = summary["triggers"]
    assert (slow["trigger"], slow["component"]) == ("slow", "a")
    assert (slow["fired"], slow["firing_s"], slow["longest_s"]) == (2, 60, 40)
    assert slow["breaches_too_short"] == 1
    assert [firing["action"] for firing in slow["firings"]] == [{"kind": "rollback", "target": "a"}] * 2
    assert [firing["ended"] for firing in slow["firings"]] == ["2026-01-01T00:01:00Z", None]
    assert slow["firings"][0]["id"] == "slow:a:20260101T000020Z"
    assert (data["fired"], data["firings"][0]["action"]["target"], data["firings"][0]["immediate"]) == (
        1,
        "full",
        True,
    )


@pytest.mark.usefixtures("directory")
def test_how_much_of_the_time_there_was_no_data() -> None:
    _backtest(_lines(), "--until", str(T0 + 402))
    data, slow = json.loads(Path("summary.json").read_text())["triggers"]
    # Evaluated are the seconds 0 to 400. The last sample of `slow` counts up to 189.
    assert (slow["watched_s"], slow["no_data_s"]) == (401, 401 - 190)
    assert (data["watched_s"], data["no_data_s"]) == (401, 401 - 60)


@pytest.mark.usefixtures("directory")
def test_a_person_reads_it_on_stderr() -> None:
    result = _backtest(_lines(), "--until", str(T0 + 402))
    assert "TRIGGER  GROUP  FIRED  FIRING  LONGEST  TOO SHORT  NO DATA" in result.stderr
    assert "2026-01-01T00:00:40Z  rollback a  by slow of a, firing 20s" in result.stderr
    assert "full, without gates  by data of a, still firing at the end" in result.stderr
    assert "2 of 2 triggers fired" in result.stderr
    assert "slow of a had no data for 52.6 % of the time" in result.stderr
    assert "\x1b" not in result.stderr
    assert all(line.startswith("{") for line in result.stdout.splitlines())
    quiet = _backtest(_lines(), "--no-summary")
    assert "FIRED" not in quiet.stderr
    assert "14 samples, 0 late, 0 unreadable" in quiet.stderr


@pytest.mark.usefixtures("directory")
def test_groups_are_not_counted_as_triggers() -> None:
    calm = json.dumps({"metric": "ms", "component": "b", "value": 1.0, "time": T0 + 5})
    assert "2 of 2 triggers fired, in 2 of 3 groups" in _backtest([*_lines(), calm]).stderr


def test_triggers_that_saw_no_sample_are_named(directory: Path) -> None:
    more = (
        '  - {name: typo, metric: mss, when: "> 10"}\n'
        """  - {name: nomatch, metric: ms, matchers: ['zone=eu'], when: "> 10"}\n"""
        '  - {name: half, ratio: {of: ms, to: calls}, aggregate: sum, window: 1m, when: "> 10"}\n'
    )
    (directory / "rules.yml").write_text(RULES + more)
    result = _backtest(_lines())
    assert "2 of 3 triggers fired" in result.stderr
    assert "typo, nomatch: no sample of theirs in the input" in result.stderr
    summary = json.loads(Path("summary.json").read_text())
    assert summary["without_samples"] == ["typo", "nomatch"]
    assert {line["trigger"] for line in summary["triggers"]} == {"slow", "data", "half"}


@pytest.mark.usefixtures("directory")
def test_what_is_later_than_until_is_left_out() -> None:
    whole = _backtest([line for line in _lines() if float(json.loads(line)["time"]) <= T0 + 50])
    cut = _backtest(_lines(), "--until", str(T0 + 50))
    summary = json.loads(Path("summary.json").read_text())
    assert summary["samples"] == 8
    assert summary["triggers"][1]["fired"] == 1
    # Without --until time ends at the last sample; with it, two seconds more than the lateness are evaluated.
    told = cut.stdout.splitlines()
    assert told[: len(whole.stdout.splitlines())] == whole.stdout.splitlines()
    assert all(json.loads(line)["at"] <= "2026-01-01T00:00:50Z" for line in told)


@pytest.mark.parametrize("seed", range(5))
def test_coverage_counts_each_second(seed: int) -> None:
    """Against a look at every second, in portions; samples in order."""
    chance = random.Random(seed)  # noqa: S311
    times = sorted(T0 + chance.randrange(4_000) / 4 for _ in range(60))
    rules = [rule(f"w{window}", window=window) for window in (1, 7, 60)]
    coverage = Coverage(rules)
    names = {0: SeriesName("m", "a", {})}
    at = 0
    while at < len(times):
        size = chance.randrange(1, 9)
        part = np.array(times[at : at + size])
        coverage.add(np.zeros(len(part), dtype=np.int64), part, names)
        at += size
    through = T0 + chance.choice([1_000, 1_020, 1_100])
    first = int(np.ceil(times[0]))
    for watched in coverage.watched(names, through):
        window = int(watched.trigger[1:])
        without = sum(
            not any(second - window < time <= second for time in times)
            for second in range(first, through + 1)
        )
        assert watched.seconds == through + 1 - first
        assert watched.without_data == without


def test_offsets_of_partitions() -> None:
    assert offsets_of(["15", "2:7"]) == {None: 15, 2: 7}
    for text in ("x", "1:", ":5", "-1", "1:2:3", ""):
        with pytest.raises(UsageError, match="--from-offset"):
            offsets_of([text])


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "2026-01-01T00:00:00Z"), "are for --from-topic"),
        (("--from-offset", "5"), "are for --from-topic"),
        (("--since", "2026-01-01T00:00:00Z", "--from-offset", "5"), "not both"),
        (("--since", "yesterday"), "--since yesterday"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[str, ...], words: str) -> None:
    result = _backtest(_lines(), *arguments)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)


def test_a_group_of_several_series_is_as_seen_as_its_best_series() -> None:
    by_zone = rule(window=10, group_by=["zone"])
    coverage = Coverage([by_zone])
    names = {
        0: SeriesName("m", "a", {"zone": "east", "host": "1"}),
        1: SeriesName("m", "a", {"zone": "east", "host": "2"}),
        2: SeriesName("m", "a", {"zone": "west", "host": "1"}),
    }
    coverage.add(np.array([0, 1, 2, 1]), np.array([0.0, 20.0, 20.0, 30.0]) + T0, names)
    seen = {str(each.of): (each.seconds, each.without_data) for each in coverage.watched(names, T0 + 39)}
    assert seen == {"a, zone 'east'": (40, 0), "a, zone 'west'": (20, 10)}
