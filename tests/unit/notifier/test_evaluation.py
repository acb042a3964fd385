"""The dead man's switch: what counts as life, what is announced, and that it is announced once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.heartbeats import Heartbeat
from services.notifier.domain.announcements import Delivery
from services.notifier.domain.evaluation import Announcement, Evaluation, hear, judge, not_evaluated
from services.notifier.domain.evaluation_messages import deliveries_of, operators
from services.notifier.domain.plan import CommunicationPlan, Receiver
from services.notifier.domain.wording import OWN_TEMPLATES

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT = timedelta(seconds=45)
LONG_AGO = T0 - timedelta(days=1)


def beat(partition: int = 0, *, through: float | None = 0.0, of: int = 1, **more: Any) -> Heartbeat:
    fields = {
        "kind": "evaluating",
        "partition": partition,
        "partitions": of,
        "instance": "monitor-1",
        "at": T0,
        "through": None if through is None else T0 + timedelta(seconds=through),
        "next_offset": 0,
        "behind": 0,
        "within_s": 5.0,
    }
    return Heartbeat.model_validate({**fields, **more})


@dataclass
class Watched:
    """An observer whose time the test moves; ``now`` is seconds after ``T0``."""

    known: Evaluation = field(default_factory=Evaluation)
    now: float = 0.0
    since: datetime = LONG_AGO
    told: list[Announcement] = field(default_factory=list)

    @property
    def time(self) -> datetime:
        return T0 + timedelta(seconds=self.now)

    def hear(self, *beats: Heartbeat) -> None:
        self.known = hear(self.known, beats, self.time)

    def judge(self) -> list[str]:
        self.known, announcements = judge(self.known, self.time, timeout=TIMEOUT, watching_since=self.since)
        self.told += announcements
        return [each.kind for each in announcements]

    def pass_time(self, seconds: float, *partitions: int, of: int = 1, **more: Any) -> list[str]:
        """So many seconds, in which these partitions are evaluated and tell it every 5 s."""
        kinds = []
        for _ in range(int(seconds // 5)):
            self.now += 5
            self.hear(*(beat(number, through=self.now, of=of, **more) for number in partitions))
            kinds += self.judge()
        return kinds


def test_evaluated_partitions_are_no_news() -> None:
    watched = Watched()
    assert watched.pass_time(600, 0, 1, of=2) == []
    assert not_evaluated(watched.known) == frozenset()


def test_nothing_is_expected_before_the_first_heartbeat() -> None:
    assert Watched(now=10_000).judge() == []


def test_silence_is_announced_within_its_time_once_and_its_end_once() -> None:
    watched = Watched()
    watched.pass_time(20, 0, 1, of=2)
    assert watched.pass_time(40) == []
    assert watched.pass_time(5) == ["evaluation_stopped"]
    assert watched.told[0].outage.partitions == (0, 1)
    assert {each.reason for each in watched.told[0].silent} == {"silent"}
    assert watched.pass_time(3_600) == []
    assert watched.pass_time(5, 0, of=2) == []
    assert watched.pass_time(5, 0, 1, of=2) == ["evaluation_resumed"]
    assert watched.told[1].outage == watched.told[0].outage
    assert watched.pass_time(600, 0, 1, of=2) == []


def test_another_outage_has_another_id() -> None:
    watched = Watched()
    for _ in range(2):
        watched.pass_time(20, 0)
        watched.pass_time(60)
    watched.pass_time(20, 0)
    assert [each.kind for each in watched.told] == ["evaluation_stopped", "evaluation_resumed"] * 2
    assert len({each.outage.outage_id for each in watched.told}) == 2


def test_a_partition_without_samples_is_evaluated() -> None:
    watched = Watched()
    assert watched.pass_time(0) == []
    for _ in range(100):
        watched.now += 5
        watched.hear(beat(through=None))
        assert watched.judge() == []


def test_a_partition_without_samples_that_nobody_reads_is_not() -> None:
    watched = Watched()
    for _ in range(20):
        watched.now += 5
        watched.hear(beat(through=None, behind=7))
        watched.judge()
    assert [each.kind for each in watched.told] == ["evaluation_stopped"]
    assert watched.told[0].silent[0].reason == "standing_still"


def test_reading_what_holds_no_sample_is_progress() -> None:
    watched = Watched()
    for _ in range(100):
        watched.now += 5
        watched.hear(beat(through=None, behind=7, next_offset=int(watched.now)))
        assert watched.judge() == []


def test_heartbeats_of_an_evaluation_that_stands_still_are_no_life() -> None:
    watched = Watched()
    watched.hear(beat(through=3.0))
    for _ in range(20):
        watched.now += 5
        watched.hear(beat(through=3.0))
        watched.judge()
    (stopped,) = watched.told
    assert stopped.silent[0].reason == "standing_still"
    watched.now += 5
    watched.hear(beat(through=4.0))
    assert watched.judge() == ["evaluation_resumed"]


def test_a_partition_that_nobody_ever_owned_is_missed_from_the_first_heartbeat_of_another() -> None:
    watched = Watched()
    assert watched.pass_time(45, 0, of=2) == []
    assert watched.pass_time(5, 0, of=2) == ["evaluation_stopped"]
    assert watched.told[0].outage.partitions == (1,)
    assert watched.told[0].silent[0].reason == "never_heard"


def test_a_planned_stop_is_told_apart_and_announced_if_nobody_takes_over() -> None:
    watched = Watched()
    watched.pass_time(20, 0)
    watched.hear(beat(through=21.0, kind="released"))
    assert watched.pass_time(40) == []
    assert watched.pass_time(5) == ["evaluation_stopped"]
    assert watched.told[0].silent[0].reason == "released"


def test_a_planned_stop_with_a_successor_is_no_news() -> None:
    watched = Watched()
    watched.pass_time(20, 0)
    watched.hear(beat(through=21.0, kind="released"))
    watched.pass_time(40)
    assert watched.pass_time(100, 0, instance="monitor-2") == []
    assert watched.told == []


def test_letting_go_does_not_end_an_outage() -> None:
    watched = Watched()
    watched.pass_time(20, 0)
    watched.pass_time(60)
    watched.hear(beat(through=90.0, kind="released"))
    assert watched.judge() == []


def test_partitions_that_fall_silent_later_are_an_outage_of_their_own() -> None:
    watched = Watched()
    watched.pass_time(20, 0, 1, of=2)
    watched.pass_time(100, 1, of=2)
    watched.pass_time(100)
    assert [each.outage.partitions for each in watched.told] == [(0,), (1,)]
    watched.pass_time(5, 0, 1, of=2)
    assert [each.kind for each in watched.told[2:]] == ["evaluation_resumed"] * 2


def test_an_outage_is_not_over_while_one_that_came_back_has_fallen_silent_again() -> None:
    """Otherwise the end of all would be told together with the next stop of one."""
    watched = Watched()
    watched.pass_time(60, 0, 1, of=2)
    assert watched.pass_time(100) == ["evaluation_stopped"]
    assert watched.pass_time(60, 0, of=2) == []
    assert watched.pass_time(100) == []
    assert watched.pass_time(60, 1, of=2) == []
    assert watched.pass_time(60, 0, 1, of=2) == ["evaluation_resumed"]


def test_a_partition_that_the_topic_has_no_longer_is_not_expected() -> None:
    watched = Watched()
    watched.pass_time(20, 0, 1, of=2)
    watched.pass_time(60, 0, of=2)
    assert watched.pass_time(5, 0, of=1) == ["evaluation_resumed"]
    assert watched.pass_time(600, 0, of=1) == []


def test_a_monitor_that_tells_less_often_is_given_three_of_its_heartbeats() -> None:
    watched = Watched()
    watched.hear(beat(within_s=60.0))
    watched.now = 179
    assert watched.judge() == []
    watched.now = 180
    assert watched.judge() == ["evaluation_stopped"]


def test_who_has_just_begun_to_listen_waits_before_judging() -> None:
    watched = Watched()
    watched.pass_time(20, 0)
    watched.now, watched.since = 10_000, T0 + timedelta(seconds=9_990)
    assert watched.judge() == []
    watched.now = 10_005
    assert watched.judge() == ["evaluation_stopped"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["beat 0", "beat 1", "still 0", "release 1", "judge"]), st.integers(0, 90))
    )
)
def test_stopped_and_resumed_alternate_for_each_partition(steps: Sequence[tuple[str, int]]) -> None:
    """Whatever comes, no partition is announced as stopped twice without an end in between."""
    watched = Watched()
    for step, seconds in steps:
        watched.now += seconds
        what, _, number = step.partition(" ")
        if what == "judge":
            watched.judge()
            continue
        through = 0.0 if what == "still" else watched.now
        kind = "released" if what == "release" else "evaluating"
        watched.hear(beat(int(number), through=through, of=2, kind=kind))
    for partition in (0, 1):
        kinds = [each.kind for each in watched.told if partition in each.outage.partitions]
        assert kinds == (["evaluation_stopped", "evaluation_resumed"] * len(kinds))[: len(kinds)]


PLAN = CommunicationPlan(
    {"immediate": ("engineering_team", "product_management"), "customer": ("status_page_update",)},
    {template.name: template for template in OWN_TEMPLATES},
)
RECEIVERS = {
    "engineering_team": Receiver("engineering_team", "slack", ("#incidents",)),
    "product_management": Receiver("product_management", "email", ("pm@example.org",)),
    "status_page_update": Receiver("status_page_update", "status_page", ("rag",)),
}


def announced(*, kafka_answers: bool = True, receivers: dict[str, Receiver] = RECEIVERS) -> list[Delivery]:
    watched = Watched()
    watched.pass_time(20, 0, 1, of=2)
    watched.pass_time(60)
    watched.pass_time(5, 0, 1, of=2)
    return [
        delivery
        for each in watched.told
        for delivery in deliveries_of(each, PLAN, receivers, kafka_answers=kafka_answers)
    ]


def test_the_on_call_is_told_in_these_words() -> None:
    stopped, resumed = announced()
    assert (stopped.receiver, resumed.receiver) == ("engineering_team", "engineering_team")
    assert stopped.message.subject == "Triggers Are Not Evaluated - all 2 partitions"
    assert stopped.message.urgency == "critical"
    assert "0, 1: no heartbeat of monitor-1 since 00:00:20 UTC" in stopped.message.content
    assert resumed.message.subject == "Triggers Are Evaluated Again - all 2 partitions"
    assert resumed.message.outlook == "good"
    assert stopped.delivery_id != resumed.delivery_id
    assert stopped.lane == resumed.lane


def test_a_kafka_that_does_not_answer_the_notifier_either_is_named() -> None:
    assert "Kafka does not answer the notifier either" in announced(kafka_answers=False)[0].message.content


UNREACHED = Receiver("engineering_team", "slack", ("#i",), "no token")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ["engineering_team"]),
        (
            {"engineering_team": UNREACHED},
            ["product_management"],
        ),
        ({"engineering_team": Receiver("engineering_team", "status_page", ("rag",))}, ["product_management"]),
        (
            {
                "engineering_team": UNREACHED,
                "product_management": Receiver("product_management", "none", (), "its channel is none"),
            },
            ["engineering_team"],
        ),
    ],
)
def test_who_runs_backout_by_the_plan(changed: dict[str, Receiver], told: list[str]) -> None:
    assert [each.name for each in operators(PLAN, {**RECEIVERS, **changed})] == told


def test_that_nobody_can_be_told_is_recorded() -> None:
    unreachable = {name: Receiver(name, "slack", ("#i",), "no token") for name in RECEIVERS}
    assert [each.refusal for each in announced(receivers=unreachable)] == [("not_configured", "no token")] * 2
