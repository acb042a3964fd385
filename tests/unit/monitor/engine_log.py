"""Feeding logs to the real engine: records as the broker would give them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.metrics import Release, encode_clock, encode_release
from services.monitor.domain.engine.admission import is_groups_key, read_admitted
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.memory import Checkpoint, Remembered, read_checkpoint, read_remembered
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.engine.releases import is_release_key, read_release
from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.language.conditions import parse_condition
from services.monitor.domain.language.groups import selection
from services.monitor.domain.language.phases import NoData, Terms
from services.monitor.domain.language.rules import DEFAULT_MAX_GROUPS, Baseline, Check, Join, Rule
from tests.unit.monitor.reference import LogRecord, Told

T0 = 1_767_225_600
"""2026-01-01T00:00:00Z."""


@dataclass(frozen=True)
class Stored:
    offset: int
    timestamp: int
    value: bytes | None


def stored(record: LogRecord) -> Stored:
    if record.clock is not None:
        value = encode_clock(record.clock)
    elif record.release is not None:
        value = encode_release(Release(*record.release))
    else:
        samples = [
            {
                "metric": point.metric,
                "component": point.component,
                "value": point.value,
                "time": point.time,
                "labels": dict(point.labels),
            }
            for point in record.points
        ]
        value = json.dumps(samples[0] if len(samples) == 1 else {"samples": samples}).encode()
    return Stored(record.offset, round(record.append * 1000), value)


def told(outcomes: Iterable[Outcome]) -> list[Told]:
    return [
        (o.at, o.rule.name, str(o.of), o.before, o.after, o.reason, o.kind, o.value, o.began)
        for o in outcomes
    ]


def rule(
    name: str = "slow",
    *,
    metric: str = "m",
    aggregate: Aggregate = "last",
    window: int = 300,
    when: str = "> 10",
    clear: str | None = None,
    lasting: int = 0,
    keep: int = 0,
    min_samples: int = 1,
    no_data: NoData = "hold",
    quorum: int | None = None,
    matchers: Sequence[str] = (),
    group_by: Sequence[str] = (),
    to: str | None = None,
    join: Join = "all",
    further: Sequence[Check] = (),
    baseline: Baseline | None = None,
    only_within: int | None = None,
    max_groups: int = DEFAULT_MAX_GROUPS,
) -> Rule:
    return Rule(
        name=name,
        metric=metric,
        aggregate=aggregate,
        window=window,
        when=parse_condition(when),
        clear=None if clear is None else parse_condition(clear),
        terms=Terms(lasting, keep, min_samples, no_data, quorum),
        severity="high",
        selection=selection(matchers, group_by),
        to=to,
        join=join,
        further=tuple(further),
        baseline=baseline,
        only_within=only_within,
        max_groups=max_groups,
    )


def run(
    rules: Sequence[Rule],
    log: Sequence[LogRecord],
    *,
    lateness: float = 0.0,
    portions: Sequence[int] = (),
    sweeping: bool = False,
) -> list[Outcome]:
    """The outcomes of ``log``, fed in portions that end after the given numbers of records."""
    return fed(rules, log, lateness=lateness, portions=portions, sweeping=sweeping)[1]


def fed(
    rules: Sequence[Rule],
    log: Sequence[LogRecord],
    *,
    lateness: float = 0.0,
    portions: Sequence[int] = (),
    sweeping: bool = False,
) -> tuple[PartitionEngine, list[Outcome]]:
    """As ``run``, and the engine as it is then."""
    engine = PartitionEngine(rules, allowed_lateness=lateness, sweeping=sweeping)
    intake = Intake(engine.series)
    outcomes: list[Outcome] = []
    for portion in cut([stored(record) for record in log], portions):
        outcomes += engine.advance(intake.read(portion).columns)
    return engine, outcomes


def run_with_restarts(
    rules: Sequence[Rule],
    log: Sequence[LogRecord],
    *,
    lateness: float,
    restarts: Sequence[int],
    sweeping: bool = False,
) -> list[Outcome]:
    """As ``run``, but after each portion another engine takes over from states and checkpoint,
    which pass through their bytes."""
    return fed_with_restarts(rules, log, lateness=lateness, restarts=restarts, sweeping=sweeping)[1]


def fed_with_restarts(
    rules: Sequence[Rule],
    log: Sequence[LogRecord],
    *,
    lateness: float,
    restarts: Sequence[int],
    sweeping: bool = False,
) -> tuple[PartitionEngine, list[Outcome]]:
    """As ``run_with_restarts``, and the last engine as it is then."""
    records = [stored(record) for record in log]
    engine = PartitionEngine(rules, allowed_lateness=lateness, sweeping=sweeping)
    outcomes: list[Outcome] = []
    states: dict[bytes, bytes] = {}
    for portion in cut(records, restarts):
        outcomes += engine.advance(Intake(engine.series).read(portion).columns)
        for key, value in engine.changes().items():
            if value is None:
                states.pop(key, None)
            else:
                states[key] = value
        next_offset = portion[-1].offset + 1 if portion else 0
        made = engine.checkpoint(next_offset, partitions=1)
        engine = PartitionEngine(rules, allowed_lateness=lateness, sweeping=sweeping)
        checkpoint = read_checkpoint(made.to_bytes())
        outcomes += recall(engine, checkpoint, states)
        again = [
            record for record in records if checkpoint.replay_from <= record.offset < checkpoint.next_offset
        ]
        engine.replay(Intake(engine.series).read(again).columns)
    return engine, outcomes


def recall(
    engine: PartitionEngine,
    checkpoint: Checkpoint,
    states: Mapping[bytes, bytes],
    *,
    anew: Callable[[Sequence[Remembered]], frozenset[bytes]] = lambda _: frozenset(),
) -> list[Outcome]:
    """What the engine says when it takes over from these states; ``anew`` says which of them begin anew."""
    releases = [read_release(value) for key, value in states.items() if is_release_key(key)]
    admitted = [read_admitted(value) for key, value in states.items() if is_groups_key(key)]
    remembered = [read_remembered(value) for key, value in states.items() if key.startswith(b"state/")]
    return engine.recall(checkpoint, remembered, releases=releases, admitted=admitted, anew=anew(remembered))


def cut(records: Sequence[Stored], after: Sequence[int]) -> list[Sequence[Stored]]:
    edges = [0, *sorted({at for at in after if 0 < at < len(records)}), len(records)]
    return [records[begin:end] for begin, end in itertools.pairwise(edges)]
