"""What the client answers: by the decision while it is fresh, as configured when it is not."""

from __future__ import annotations

import json
import math
import threading
import time
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from backout_client import BreakerClient, UnreadableRecord
from backout_client.decisions import Decisions, Taken, WhenStale
from backout_client.reading import Alive, Decided, Removed, read_record

EXAMPLES = Path(__file__).parents[3] / "schemas" / "examples" / "breakers"
COMPONENT = "pdf_extraction"
WALL = 1_767_225_725.0
STALE_AFTER_S = 30.0
GENEROUS_S = 10e-6
"""Five times what is promised: a busy machine must not fail the test, a lost look-up table shall."""


def example(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((EXAMPLES / f"{name}.json").read_text())
    return read


def decided(name: str) -> Decided:
    item = read_record(COMPONENT.encode(), json.dumps(example(name)).encode())
    assert isinstance(item, Decided)
    return item


@dataclass
class Stage:
    """Decisions under a clock that the test moves."""

    decisions: Decisions
    now: float = 1000.0

    @classmethod
    def of(cls, when_stale: WhenStale = "closed", **more: Any) -> Stage:
        stage = cls(Decisions(when_stale, STALE_AFTER_S, **more))
        stage.decisions.monotonic = lambda: stage.now
        return stage

    def take(self, *items: Decided | Alive | Removed, age_s: float = 0.0, behind_s: float = 2.0) -> None:
        for item in items:
            if isinstance(item, Alive):
                item = replace(item, through=WALL - age_s - behind_s)
            self.decisions.take(Taken(item, WALL - age_s, age_s))
        self.decisions.read_once = True


ALIVE = Alive(partition=2, through=WALL)


class TestReading:
    def test_every_example_of_the_contract_is_read(self) -> None:
        opened = decided("open")
        assert (opened.component, opened.state, opened.fallback, opened.partition) == (
            COMPONENT, "open", "original_extractor", 2
        )  # fmt: skip
        assert "response_time_p95_ms was 4210" in opened.why
        assert opened.since == 1_767_225_630.0
        assert decided("half-open").state == "half_open"
        assert decided("closed").fallback is None
        alive = read_record(b"alive/2", json.dumps(example("alive")).encode())
        assert alive == Alive(2, 1_767_225_725.0)

    def test_what_a_newer_monitor_adds_is_passed_over(self) -> None:
        event = example("open")
        event["data"]["more"] = event["more"] = {"a": 1}
        assert read_record(b"c", json.dumps(event).encode()) == decided("open")

    def test_an_emptied_record_removes(self) -> None:
        assert read_record(b"a_component", None) == Removed("a_component")
        assert read_record(b"alive/3", None) is None
        assert read_record(None, None) is None

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda event: event.update(type="io.backout.breakers.ajar.v1"),
            lambda event: event.update(type="io.backout.breakers.open.v2"),
            lambda event: event.pop("data"),
            lambda event: event["data"].pop("fallback"),
            lambda event: event["data"].update(probe_share=0),
            lambda event: event["data"].update(since="yesterday"),
            lambda event: event["data"].update(partition=math.inf),
            lambda event: event["data"].update(probe_share=10**400),
        ],
    )
    def test_what_it_does_not_know_is_unreadable(self, spoil: Callable[[dict[str, Any]], object]) -> None:
        event = example("open")
        spoil(event)
        with pytest.raises(UnreadableRecord):
            read_record(b"c", json.dumps(event).encode())

    @pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", b"1", b"[" * 100_000])
    def test_garbage_is_unreadable(self, value: bytes) -> None:
        with pytest.raises(UnreadableRecord):
            read_record(b"c", value)


class TestFresh:
    def test_open_names_the_fallback_and_the_reason(self) -> None:
        stage = Stage.of()
        stage.take(ALIVE, decided("open"))
        decision = stage.decisions.decide(COMPONENT)
        assert (decision.allowed, decision.state, decision.fallback) == (False, "open", "original_extractor")
        assert decision.reason == "open"
        assert decision.why.startswith("response_time: response_time_p95_ms was 4210")
        assert not decision.is_stale

    def test_closed_lets_through(self) -> None:
        stage = Stage.of(when_stale="open")
        stage.take(ALIVE, decided("open"), decided("closed"))
        assert stage.decisions.decide(COMPONENT).allowed
        assert stage.decisions.components() == {COMPONENT: "closed"}

    @pytest.mark.parametrize("share", [0.001, 0.1, 0.25, 0.3, 1 / 3, 0.4, 0.5, 0.7, 0.9, 1.0])
    def test_half_open_lets_exactly_its_share_through_evenly_from_the_first_call_on(
        self, share: float
    ) -> None:
        stage = Stage.of()
        stage.take(ALIVE, replace(decided("half-open"), probe_share=share))
        answers = [stage.decisions.decide(COMPONENT) for _ in range(2_000)]
        assert answers[0].reason == "probe"
        assert {(each.reason, each.allowed) for each in answers} <= {("probe", True), ("probing", False)}
        assert {each.fallback for each in answers} == {"original_extractor"}
        probes = 0
        for calls, answer in enumerate(answers, start=1):
            probes += answer.allowed
            assert probes == math.floor((calls - 1) * Fraction(repr(share))) + 1

    def test_threads_share_the_count_of_calls(self) -> None:
        stage = Stage.of()
        stage.take(ALIVE, replace(decided("half-open"), probe_share=0.4))

        def ask(calls: int) -> int:
            return sum(stage.decisions.decide(COMPONENT).allowed for _ in range(calls))

        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(ask, [5_000] * 4)) == 8_000

    def test_an_open_breaker_is_never_passed_while_the_topic_is_taken_anew(self) -> None:
        """Another thread asks while the reading one has come back to the broker and begins anew."""
        stage = Stage.of()
        every = [Taken(replace(decided("open"), component=f"c{n}"), WALL, 0.0) for n in range(500)]
        stage.take(ALIVE)
        stage.decisions.replace(every)
        over = threading.Event()

        def asked() -> set[str]:
            found = set[str]()
            while not over.is_set():
                found.add(stage.decisions.decide("c499").reason)
                assert len(stage.decisions.components()) == 500
            return found

        with ThreadPoolExecutor(1) as threads:
            answers = threads.submit(asked)
            for _ in range(100):
                stage.decisions.replace(every)
            over.set()
            assert answers.result() == {"open"}

    def test_a_component_that_nothing_was_decided_of_is_let_through(self) -> None:
        stage = Stage.of(when_stale="open")
        stage.take(ALIVE)
        decision = stage.decisions.decide("another")
        assert (decision.allowed, decision.reason) == (True, "unknown_component")

    def test_a_removed_breaker_is_unknown(self) -> None:
        stage = Stage.of()
        stage.take(ALIVE, decided("open"), Removed(COMPONENT))
        assert stage.decisions.decide(COMPONENT).reason == "unknown_component"


class TestStale:
    @pytest.mark.parametrize(
        ("when_stale", "allowed", "fallback"), [("closed", True, None), ("open", False, "original_extractor")]
    )
    def test_the_configured_answer_when_no_sign_of_life_came(
        self, when_stale: WhenStale, allowed: bool, fallback: str | None
    ) -> None:
        stage = Stage.of(when_stale)
        stage.take(ALIVE, decided("open"))
        stage.now += STALE_AFTER_S - 0.01
        assert stage.decisions.decide(COMPONENT).reason == "open"
        stage.now += 0.01
        decision = stage.decisions.decide(COMPONENT)
        assert (decision.allowed, decision.state, decision.fallback) == (allowed, when_stale, fallback)
        assert decision.reason == "stale"
        assert decision.is_stale
        assert decision.why.startswith("no sign of life of the monitor for 30 s; the last decision was open")
        stage.take(ALIVE)
        assert stage.decisions.decide(COMPONENT).reason == "open"

    def test_only_the_owner_of_its_partition_keeps_a_decision_fresh(self) -> None:
        stage = Stage.of()
        stage.take(Alive(1, 0.0), decided("open"))
        assert stage.decisions.decide(COMPONENT).reason == "stale"

    def test_an_old_sign_of_life_counts_from_when_it_was_written(self) -> None:
        stage = Stage.of()
        stage.take(ALIVE, decided("open"), age_s=29.0)
        assert stage.decisions.decide(COMPONENT).reason == "open"
        stage.now += 1.5
        assert stage.decisions.decide(COMPONENT).reason == "stale"

    def test_an_evaluation_far_behind_is_no_sign_of_life(self) -> None:
        stage = Stage.of(max_behind_s=120.0)
        stage.take(ALIVE, decided("open"), behind_s=121.0)
        assert stage.decisions.decide(COMPONENT).reason == "stale"
        stage.take(ALIVE, behind_s=119.0)
        assert stage.decisions.decide(COMPONENT).reason == "open"

    @pytest.mark.parametrize(("when_stale", "allowed"), [("closed", True), ("open", False)])
    def test_before_anything_was_read(self, when_stale: WhenStale, allowed: bool) -> None:
        decisions = Stage.of(when_stale, stale_fallback="reject").decisions
        decision = decisions.decide(COMPONENT)
        assert (decision.allowed, decision.reason) == (allowed, "not_read_yet")
        assert decision.fallback == (None if allowed else "reject")
        assert decisions.age_s() is None

    def test_an_unknown_component_while_no_monitor_lives(self) -> None:
        stage = Stage.of("open", stale_fallback="reject")
        stage.take(ALIVE)
        stage.now += STALE_AFTER_S
        decision = stage.decisions.decide("another")
        assert (decision.allowed, decision.fallback, decision.reason) == (False, "reject", "stale")
        assert stage.decisions.age_s() == STALE_AFTER_S


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="when_stale must be 'open' or 'closed'"):
        BreakerClient("k:9092", when_stale="ajar")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="stale_after_s must be more than 0"):
        BreakerClient("k:9092", stale_after_s=0)


@pytest.mark.parametrize(("when_stale", "read_once"), [("closed", True), ("open", True), ("open", False)])
def test_nor_does_one_about_what_nothing_is_known_of(when_stale: WhenStale, read_once: bool) -> None:
    decisions = Decisions(when_stale, STALE_AFTER_S, read_once=read_once)
    assert decisions.decide(COMPONENT).is_stale
    calls = 20_000
    best = min(timeit.repeat(lambda: decisions.decide(COMPONENT), number=calls, repeat=7)) / calls
    assert best < GENEROUS_S


@pytest.mark.parametrize("name", ["closed", "open", "half-open"])
def test_an_answer_takes_no_time(name: str) -> None:
    """The best of several runs: a machine that is busy elsewhere only makes others worse."""
    decisions = Decisions("closed", STALE_AFTER_S)
    now = time.time()
    decisions.take(Taken(Alive(2, now), now, 0.0))
    decisions.take(Taken(decided(name), now, 0.0))
    calls = 20_000
    best = min(timeit.repeat(lambda: decisions.decide(COMPONENT), number=calls, repeat=7)) / calls
    assert best < GENEROUS_S
