"""Only records move time: watermark, lateness, clock records, the far future."""

from __future__ import annotations

import dataclasses
import time

import pytest

from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import MAX_AHEAD_S, Intake
from services.monitor.domain.language.aggregates import Aggregate
from services.monitor.domain.language.phases import NoData
from tests.unit.monitor.engine_log import T0, rule, run, stored
from tests.unit.monitor.reference import LogRecord, Point


def _one(offset: int, time: float, value: float, append: float | None = None) -> LogRecord:
    return LogRecord(offset, time if append is None else append, (Point("m", "c", time, value),))


def _engine(*log: LogRecord, lateness: float = 0.0) -> PartitionEngine:
    engine = PartitionEngine([rule()], allowed_lateness=lateness)
    engine.advance(Intake(engine.series).read([stored(record) for record in log]).columns)
    return engine


@pytest.mark.parametrize(
    ("lateness", "through"), [(0.0, T0 + 10), (2.0, T0 + 8), (2.5, T0 + 7), (60.0, T0 - 50)]
)
def test_a_second_is_evaluated_once_the_watermark_has_reached_it(lateness: float, through: int) -> None:
    assert _engine(_one(0, T0, 1), _one(1, T0 + 10, 1), lateness=lateness).evaluated_through == through


def test_a_sample_ahead_of_its_append_time_moves_time_only_to_that() -> None:
    assert _engine(_one(0, T0 + 30, 1, append=T0 + 5)).evaluated_through == T0 + 5
    later = _engine(_one(0, T0, 1), _one(1, T0 + 30, 1, append=T0 + 5))
    assert later.evaluated_through == T0 + 5


def test_a_clock_record_is_never_later_than_its_own_append_time() -> None:
    log = (_one(0, T0, 1), LogRecord(1, T0 + 20, clock=T0 + 999))
    assert _engine(*log).evaluated_through == T0 + 20


def test_samples_of_the_past_keep_their_own_time() -> None:
    """Published today, of a year ago: only the time since the append is added by the clock."""
    year_ago = T0 - 365 * 86_400
    engine = _engine(_one(0, year_ago, 1, append=T0))
    assert engine.shown == (float(year_ago), float(T0))
    assert engine.evaluated_through == year_ago


def test_a_partition_begins_with_the_samples_that_are_still_in_time_for_its_first_one() -> None:
    """By hand: with a lateness of 2 s, 12 lets second 10 be evaluated, and 14 lets 12 be."""
    slow = rule(when="> 3000", lasting=2)
    times = [11, 10, 12, 13, 14, 15]
    log = [_one(offset, T0 + at, 5_000) for offset, at in enumerate(times)]
    log.append(_one(len(log), T0 + 20, 1))
    outcomes = run([slow], log, lateness=2.0)
    assert [(o.at - T0, o.after, o.began - T0) for o in outcomes] == [
        (10, "pending", 10),
        (12, "firing", 10),
    ]
    assert _engine(*log, lateness=2.0).late == 0


def test_the_far_future_is_unreadable_and_moves_nothing() -> None:
    engine = PartitionEngine([rule()], allowed_lateness=0.0)
    records = [stored(_one(0, T0, 1)), stored(_one(1, T0 + 1 + MAX_AHEAD_S + 1, 999, append=T0 + 1))]
    taken = Intake(engine.series).read(records)
    assert [(index, unread.reason) for index, unread in taken.unread] == [(1, "future_time")]
    engine.advance(taken.columns)
    assert engine.evaluated_through == T0
    at_the_limit = stored(_one(2, T0 + 1 + MAX_AHEAD_S, 1, append=T0 + 1))
    assert Intake(engine.series).read([at_the_limit]).unread == []


def test_a_late_sample_counts_in_later_windows_and_is_counted() -> None:
    total = rule(aggregate="sum", window=10, when="> 100")
    log = [_one(0, T0, 1), _one(1, T0 + 5, 1), _one(2, T0 + 2, 200), _one(3, T0 + 20, 1)]
    outcomes = run([total], log)
    assert [(o.at, o.after) for o in outcomes if o.is_transition] == [
        (T0 + 6, "firing"),
        (T0 + 12, "inactive"),
    ]
    engine = PartitionEngine([total], allowed_lateness=0.0)
    engine.advance(Intake(engine.series).read([stored(record) for record in log]).columns)
    assert engine.late == 1


def test_the_window_is_open_on_the_left_and_closed_on_the_right() -> None:
    counted = rule(aggregate="count", window=5, when=">= 1")
    outcomes = run([counted], [_one(0, T0, 1), LogRecord(1, T0 + 9, clock=T0 + 9)])
    # The sample of T0 is in (T - 5, T] for T0 <= T < T0 + 5; after that there is no data.
    assert [(o.at, o.kind) for o in outcomes] == [(T0, "fired"), (T0 + 5, "no_data")]


def test_one_bad_sample_and_then_silence_fires_nothing_under_the_shipped_terms() -> None:
    shipped = rule(window=30, lasting=20, min_samples=3, when="> 3000")
    log = [_one(0, T0, 100), _one(1, T0 + 1, 9000), LogRecord(2, T0 + 900, clock=T0 + 900)]
    assert [(o.after, o.reason) for o in run([shipped], log)] == [
        ("pending", "breach_began"),
        ("inactive", "no_data_too_long"),
    ]


FIFTY_YEARS = 50 * 365 * 86_400
LONGEST = 366 * 86_400


@pytest.mark.parametrize("aggregate", ["last", "avg", "p95", "count"])
@pytest.mark.parametrize("to_now", ["clock", "sample"])
def test_fifty_years_of_firing_silence_are_passed_over_in_no_time(aggregate: Aggregate, to_now: str) -> None:
    """One old sample, accepted, that fires, and then one of now: no announcement for each minute."""
    old = rule(aggregate=aggregate, window=60, when=">= 1")
    end = FIFTY_YEARS
    now = LogRecord(1, end, clock=end) if to_now == "clock" else _one(1, end, 1)
    began = time.process_time()
    outcomes = run([old], [_one(0, 0, 1), now])
    assert time.process_time() - began < 1.0
    # Its first announcement of silence was due at 60: the minutes are counted from there, and
    # those of the last five are told.
    assert outcomes[0].kind == "fired"
    assert [(o.at - end, o.kind) for o in outcomes[1:]] == [
        (behind, "no_data") for behind in (-300, -240, -180, -120, -60)
    ] + [(0, "firing" if to_now == "sample" else "no_data")]


@pytest.mark.parametrize(
    ("no_data", "lasting", "keep", "told"),
    [
        # Held from 60 on: for longer than the year after so many seconds without data.
        ("hold", LONGEST, 0, [(0, "pending"), (60 + LONGEST, "inactive")]),
        ("breach", LONGEST, 0, [(0, "pending"), (LONGEST, "firing")]),
        # Clear for the first time at 60, and then for a year more.
        ("ok", 0, LONGEST, [(0, "firing"), (60 + LONGEST, "inactive")]),
    ],
)
def test_the_longest_terms_pass_in_no_time(
    no_data: NoData, lasting: int, keep: int, told: list[tuple[int, str]]
) -> None:
    slow = rule(window=60, when=">= 1", lasting=lasting, keep=keep, no_data=no_data)
    began = time.process_time()
    outcomes = run([slow], [_one(0, 0, 1), LogRecord(1, FIFTY_YEARS, clock=FIFTY_YEARS)])
    assert time.process_time() - began < 1.0
    assert [(o.at, o.after) for o in outcomes if o.is_transition] == told


def test_a_repetition_is_told_up_to_five_minutes_late() -> None:
    """At T0 + 300 all of the last five minutes is told; one second more, and the first is not."""
    firing = rule(window=1_000, when=">= 1")
    for jump, first in ((360, 60), (361, 120)):
        log = [_one(0, T0, 1), LogRecord(1, T0 + jump, clock=T0 + jump)]
        told = [o.at - T0 for o in run([firing], log) if o.kind == "firing"]
        assert told == list(range(first, jump + 1, 60))


def test_the_definition_is_hashed_and_the_place_is_not() -> None:
    one = rule()
    assert dataclasses.replace(one, place="elsewhere.yml:3").hash == one.hash
    assert rule(lasting=1).hash != one.hash
    assert rule(when=">= 10").hash != one.hash
