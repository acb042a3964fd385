"""A restart under changed rules: what fired is superseded, and the new definition begins with
the samples that its window already holds."""

from __future__ import annotations

from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.domain.language.rules import Rule
from tests.unit.monitor.engine_log import T0, recall, rule, stored
from tests.unit.monitor.reference import LogRecord, Point

CLOCK = LogRecord(1, T0 + 30, clock=T0 + 30)


def _changed(before: Rule, after: Rule, log: list[LogRecord]) -> list[Outcome]:
    """What the engine with the rule ``after`` says on taking over, and then at ``CLOCK``."""
    first = PartitionEngine([before], allowed_lateness=0.0)
    records = [stored(record) for record in log]
    first.advance(Intake(first.series).read(records).columns)
    kept = {key: value for key, value in first.changes().items() if value is not None}
    checkpoint = first.checkpoint(len(log), partitions=1)
    second = PartitionEngine([after], allowed_lateness=0.0)
    outcomes = recall(second, checkpoint, kept)
    second.replay(Intake(second.series).read(records).columns)
    return outcomes + second.advance(Intake(second.series).read([stored(CLOCK)]).columns)


def test_a_new_threshold_fires_on_the_sample_that_is_held() -> None:
    sample = LogRecord(0, T0, (Point("m", "c", T0, 50.0),))
    outcomes = _changed(rule(when="> 100"), rule(when="> 10", lasting=10), [sample])
    assert [(o.at - T0, o.after, o.kind) for o in outcomes] == [
        (1, "pending", None),
        (11, "firing", "fired"),
    ]


def test_what_fired_by_absence_is_superseded_without_evidence() -> None:
    absence = rule(when="> 100", window=2, no_data="breach")
    log = [LogRecord(0, T0, (Point("m", "c", T0, 50.0),)), LogRecord(1, T0 + 9, clock=T0 + 9)]
    told = _changed(absence, rule(when="> 200", window=2), log)
    assert [(o.kind, o.evidence) for o in told] == [("superseded", None)]


def test_what_fired_by_a_sample_is_superseded_with_it() -> None:
    sample = LogRecord(0, T0, (Point("m", "c", T0, 500.0),))
    (superseded,) = _changed(rule(when="> 100"), rule(when="> 900"), [sample])
    assert superseded.evidence is not None
    assert (superseded.evidence.first_offset, superseded.evidence.last_offset) == (0, 0)
