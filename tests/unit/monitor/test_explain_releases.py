"""``backout triggers explain`` for triggers that look at releases: what is told of the release and the
baseline is the engine's, and each change that it names turns the answer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from chassis.errors import UsageError
from schemas.metrics import Release, encode_release
from services.monitor.adapters.explain_source import GroupWanted, from_lines
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.series import Series
from services.monitor.domain.explaining.compared_with import figures_of, in_force
from services.monitor.domain.explaining.explaining import explain
from services.monitor.domain.explaining.recorded import Recorded, run, select
from services.monitor.domain.explaining.records import Kept, columns_of_releases, joined_columns
from services.monitor.domain.explaining.searching import Change
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Baseline, Check, Rule
from tests.unit.monitor.engine_log import T0, Stored, rule
from tests.unit.monitor.explain_workspace import enter_workspace, json_of, run_explain
from tests.unit.monitor.reference import LogRecord, Point, ReferenceEngine, fires_between

LATENESS = 2.0
AGAINST = rule(
    "r", metric="ms", aggregate="p95", window=45, when="> 0.2", lasting=30, min_samples=2,
    baseline=Baseline("p50", 120),
)  # fmt: skip
NEWEST = rule("r", metric="ms", window=40, when="< -0.1", lasting=15, baseline=Baseline("avg", 90))
WITHIN = rule("r", metric="ms", aggregate="avg", window=45, when="> 100", lasting=30, only_within=200)
TOO_LATE = replace(WITHIN, only_within=25)
BOTH = replace(AGAINST, only_within=170)
SUM = rule(
    "r", metric="ms", aggregate="sum", window=45, when="> 0.2", lasting=30, baseline=Baseline("avg", 120)
)  # fmt: skip
EITHER = replace(
    NEWEST,
    join="any",
    further=(Check("ms", "p95", 45, Condition(">", 0.2), baseline=Baseline("p50", 120)),),
)
EACH = replace(
    AGAINST,
    further=(Check("ms", "sum", 45, Condition(">", 0.1), baseline=Baseline("max", 100)),),
)


def _noise(seed: int) -> list[LogRecord]:
    """A level, a release (some announced late), a worse level, and a second release that mends nothing."""
    chance = random.Random(seed)  # noqa: S311
    records: list[LogRecord] = []

    def add(time: float, *, release: bool = False, value: float = 0.0) -> None:
        offset = len(records)
        if release:
            records.append(LogRecord(offset, time, release=("a", time - chance.choice([0.0, 0.5, 6.0]))))
        else:
            late = chance.choice([0.0] * 8 + [21.0])
            records.append(LogRecord(offset, time, (Point("ms", "a", time - late, value),)))

    for at in range(44):
        bad = 14 <= at < 34
        time = T0 + 15.0 * at
        if at in (13, 24) and chance.random() < 0.9:
            add(time, release=True)
        if chance.random() > 0.1:
            down = chance.choice([0.8, 1.35])
            add(time, value=(100.0 * (down if bad else 1.0)) + chance.randrange(-48, 48) / 4)
    return records


def _line(record: LogRecord) -> bytes:
    if record.release is not None:
        return encode_release(Release(*record.release, version=f"v{record.offset}"))
    (point,) = record.points
    return json.dumps(
        {"metric": point.metric, "component": "a", "value": point.value, "time": point.time}
    ).encode()


def _numbered(log: Sequence[LogRecord]) -> list[LogRecord]:
    """As a file has it: appended at the sample's own time, at the offset of the line."""
    return [
        replace(
            record,
            offset=number,
            append=record.points[0].time if record.points else record.append,
        )
        for number, record in enumerate(log, start=1)
    ]


def _recorded(of: Rule, log: Sequence[LogRecord]) -> Recorded:
    return from_lines(map(_line, log), of, GroupWanted("a"), LATENESS)


def _fires(of: Rule, log: Sequence[LogRecord], first: int, last: int) -> bool:
    """By the reference engine, one second at a time."""
    return fires_between(ReferenceEngine([of], LATENESS).run(_numbered(log)), first, last)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "of",
    [AGAINST, NEWEST, WITHIN, TOO_LATE, BOTH, SUM, EITHER, EACH],
    ids=["baseline", "last", "within", "too late", "both", "sum", "any", "all"],
)
def test_each_change_turns_what_the_reference_engine_finds(of: Rule, seed: int) -> None:
    """At the edge the answer turns, and just before it it stays."""
    log = _noise(seed)
    first, last = T0 + 240, T0 + 480
    found = explain(of, _recorded(of, log), first, last)

    def fires(changed: Rule) -> bool:
        return _fires(changed, log, first, last)

    assert found.fired is fires(of)
    for flip in found.flips:
        turned, kept = _changed(of, flip, fired=found.fired)
        assert fires(turned) is not found.fired, flip
        assert fires(kept) is found.fired, flip
    # What is looked at here is there to be looked at.
    if found.fired and of is not EITHER:  # Of two that breach no single threshold turns it.
        assert {flip.setting for flip in found.flips} >= {"threshold", "for"}
    if of is TOO_LATE:
        assert {(flip.setting, found.fired) for flip in found.flips} >= {("only_within", False)}
    if of is AGAINST:
        assert {flip.setting for flip in found.flips} >= {"window", "baseline.window"}


def _check_of(of: Rule, flip: Change) -> int:
    return next((at for at, check in enumerate(of.checks) if check.words() == flip.measure), 0)


def _with(of: Rule, at: int, **fields: Any) -> Rule:
    """The rule with another one of its checks."""
    if at == 0:
        return replace(of, **fields)
    further = list(of.further)
    further[at - 1] = replace(further[at - 1], **fields)
    return replace(of, further=tuple(further))


def _changed(of: Rule, flip: Change, *, fired: bool) -> tuple[Rule, Rule]:
    """The definition at the edge, and just before it."""
    value, toward_now = flip.value, -1 if flip.value > flip.now else 1
    if flip.setting == "threshold":
        at = _check_of(of, flip)
        stricter = of.checks[at].when.operator == ">"
        step = 1e-9 * (1 if stricter is fired else -1)
        edge, before = (value, value - step) if flip.inclusive else (value + step, value)
        operator = of.checks[at].when.operator
        return tuple(_with(of, at, when=Condition(operator, each)) for each in (edge, before))  # type: ignore[return-value]
    both = (int(value), int(value) + toward_now)
    if flip.setting in ("for", "min_samples"):
        field = "lasting" if flip.setting == "for" else "min_samples"
        return tuple(replace(of, terms=replace(of.terms, **{field: each})) for each in both)  # type: ignore[return-value]
    if flip.setting == "baseline.window":
        at = _check_of(of, flip)
        past = of.checks[at].baseline
        assert past is not None
        return tuple(_with(of, at, baseline=replace(past, window=each)) for each in both)  # type: ignore[return-value]
    if flip.setting == "window":
        return tuple(_with(of, _check_of(of, flip), window=each) for each in both)  # type: ignore[return-value]
    return tuple(replace(of, **{flip.setting: each}) for each in both)  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "of", [AGAINST, NEWEST, BOTH, SUM, EITHER, EACH], ids=["baseline", "last", "both", "sum", "any", "all"]
)
def test_the_figure_told_is_the_one_that_the_engine_compared_with(of: Rule, seed: int) -> None:
    recorded = _recorded(of, _noise(seed))
    for second in range(T0 + 180, T0 + 600, 60):
        records = recorded.through(second)
        found = run(of, records)
        figures = {each.check: each.value for each in in_force(figures_of(of, records, found), second)}
        assert tuple(figures.get(at) for at in range(len(of.checks))) == found.figures


def test_records_that_change_nothing_can_be_left_out() -> None:
    """Those of other components matter only where they make another second due."""
    chance = random.Random(1)  # noqa: S311
    log = _noise(1)
    others = [
        json.dumps({"metric": "ms", "component": "b", "value": 1.0, "time": T0 + chance.uniform(0, 640)})
        for _ in range(400)
    ]

    mixed = [(record.append, _line(record)) for record in log]
    mixed += [(json.loads(each)["time"] + 0.5, each.encode()) for each in others]
    mixed.sort(key=lambda entry: entry[0])
    records = [Stored(number, round(at * 1000), value) for number, (at, value) in enumerate(mixed)]

    def recorded(*, reduced: bool, portion: int) -> Recorded:
        series = Series([BOTH])
        intake, kept = Intake(series), Kept("a", LATENESS)
        parts = [columns_of_releases(())]
        for begin in range(0, len(records), portion):
            columns = intake.read(records[begin : begin + portion]).columns
            parts.append(kept.of(columns, series) if reduced else columns)
        return select(
            joined_columns(parts), series, BOTH, lambda group: group.component == "a",
            nobody=Group("a"), lateness=LATENESS,
        )  # fmt: skip

    whole, less = recorded(reduced=False, portion=1000), recorded(reduced=True, portion=37)
    assert less.columns.records < whole.columns.records
    assert run(BOTH, less) == run(BOTH, whole)
    assert less.releases() == whole.releases()


RULES = """\
triggers:
  - {name: slower, metric: ms, aggregate: p95, window: 1m, baseline: {aggregate: p50, window: 2m},
     when: "> 50%", for: 30s, only_within: 10m}
  - name: several
    any:
      - {metric: ms, aggregate: sum, window: 1m, baseline: {aggregate: avg, window: 2m}, when: "> 50%"}
      - {metric: ms, aggregate: p95, window: 1m, baseline: {aggregate: p50, window: 2m}, when: "> 90%"}
  - {name: fresh, metric: ms, when: "> 100", staleness: 30s, for: 30s, only_within: 1m}
"""


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """100 ms for five minutes, a release, 160 ms for three minutes, and 100 ms again."""
    lines = []
    for at in range(60):
        if at == 30:
            lines.append(encode_release(Release("a", T0 + 300.0, "2.1")))
        value = 160.0 if 30 < at < 48 else 100.0
        lines.append(_line(LogRecord(0, 0.0, (Point("ms", "a", T0 + 10.0 * at, value),))))
    return enter_workspace(tmp_path, monkeypatch, RULES, b"\n".join(lines) + b"\n")


def _explain(trigger: str, clock: str, *arguments: str, source: str = "samples.jsonl") -> Result:
    at = ["--trigger", trigger, "--component", "a", "--at", f"2026-01-01T{clock}Z"]
    return run_explain(*at, *arguments, source=source)


def _json(*arguments: str) -> Any:
    return json_of(_explain(*arguments, "-o", "json"))


def test_the_baseline_is_told_to_a_person() -> None:
    result = _explain("slower", "00:06:00")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "slower of a: firing at 2026-01-01T00:06:00Z" in result.stdout
    told = (
        "release 2.1 of a at 2026-01-01T00:05:00.000Z: the breach began 20s after it, and fired 50s after it"
    )
    assert told in result.stdout
    assert "`only_within` 10m is over at 2026-01-01T00:15:00Z" in result.stdout
    assert (
        "the baseline is 100, p50 over 2m before the release (release 2.1 of a at 2026-01-01T00:05:00.000Z): "
        "12 samples from 2026-01-01T00:03:00.000Z to 2026-01-01T00:04:50.000Z" in result.stdout
    )
    assert "p95 over 1m of ms was 160, which is +60 %, > 50 %" in result.stdout
    assert "a threshold of 60 % or more instead of 50 %" in result.stdout
    assert "an `only_within` of 1m or less instead of 10m" in result.stdout


def test_the_baseline_in_json() -> None:
    answer = _json("slower", "00:06:00")
    assert answer["fired"] is True
    assert answer["release"] == {
        "version": "2.1",
        "time": "2026-01-01T00:05:00.000Z",
        "offset": 31,
        "before_s": 50,
        "breach_after_s": 20,
        "over_at": "2026-01-01T00:15:00Z",
    }
    baseline = answer["baseline"]
    assert (baseline["value"], baseline["aggregate"], baseline["window"]) == (100.0, "p50", 120)
    assert (baseline["samples"], baseline["drawn"], baseline["compared_value"]) == (12, 12, 160.0)
    assert baseline["counts_from"] == "2026-01-01T00:05:00Z"
    settings = [flip["setting"] for flip in answer["would_turn_it"]]
    assert settings[:3] == ["threshold", "for", "min_samples"]
    assert "only_within" in settings


def test_a_breach_too_long_after_the_release_is_told() -> None:
    result = _explain("fresh", "00:07:00")
    assert "fresh of a: not firing at" in result.stdout
    assert "release 2.1 of a at 2026-01-01T00:05:00.000Z: 2m before 2026-01-01T00:07:00Z" in result.stdout
    assert "`only_within` 1m was over at 2026-01-01T00:06:00Z: 1m too late to breach" in result.stdout
    assert "an `only_within` of 2m1s or more instead of 1m" in result.stdout


def test_before_any_release_nothing_can_breach() -> None:
    result = _explain("slower", "00:04:00")
    assert "no release of a counted at 2026-01-01T00:04:00Z: it cannot breach" in result.stdout
    assert _json("slower", "00:04:00")["release"] is None


def test_releases_beside_parquet(directory: Path) -> None:
    lines = [json.loads(line) for line in (directory / "samples.jsonl").read_bytes().splitlines()]
    samples = [line for line in lines if "metric" in line]
    pq.write_table(pa.Table.from_pylist(samples), directory / "samples.parquet")
    result = _explain("slower", "00:06:00", source="samples.parquet")
    assert isinstance(result.exception, UsageError)
    assert "Give them with --releases FILE" in str(result.exception)
    (directory / "releases.jsonl").write_bytes(encode_release(Release("a", T0 + 300.0, "2.1")))
    beside = _explain(
        "slower", "00:06:00", "--releases", "releases.jsonl", "-o", "json", source="samples.parquet"
    )
    assert beside.exit_code == 0, beside.output + repr(beside.exception)
    answer, among = json.loads(beside.stdout), _json("slower", "00:06:00")
    assert answer["baseline"]["value"] == among["baseline"]["value"]
    assert [each["at"] for each in answer["transitions"]] == [each["at"] for each in among["transitions"]]


def test_each_condition_is_told_with_its_own_baseline() -> None:
    """Six samples of 100 are in each minute before the release: a sum of 600, and one of 960 after it."""
    result = _explain("several", "00:06:20")
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert (
        "the baseline for sum over 1m of ms is 600, avg over 2m before the release (release 2.1 of a at "
        "2026-01-01T00:05:00.000Z): its values at 60 moments, of 18 samples from" in result.stdout
    )
    assert "the baseline for p95 over 1m of ms is 100, p50 over 2m before the release" in result.stdout
    answer = _json("several", "00:06:20")
    assert answer["values"] == pytest.approx([0.6, 0.6])
    assert [(each["value"], each["aggregate"]) for each in answer["baselines"]] == [
        (600.0, "avg"),
        (100.0, "p50"),
    ]
    assert (answer["baselines"][0]["moments"], answer["baselines"][1]["drawn"]) == (60, 12)
    thresholds = [flip for flip in answer["would_turn_it"] if flip["setting"] == "threshold"]
    assert [flip["value"] for flip in thresholds] == pytest.approx([0.6])
