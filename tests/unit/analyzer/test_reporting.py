"""The order in which reports are made, where one of them cannot be made for now.

A broker that is slow on one partition only is not to be had from a real one: the log here is a
double that fails for one topic, the rest of it is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import pytest

from chassis.clock import SystemClock
from chassis.errors import DependencyUnavailable
from chassis.failpoints import Failpoints
from chassis.kafka import TopicPartition
from schemas.incidents import IncidentEvent, OffsetRange
from services.analyzer.domain.document import Report
from services.analyzer.domain.evidence import Archiving, EvidenceRecord, may_be_of
from services.analyzer.handlers.archiving import Archiver
from services.analyzer.handlers.reporting import Reporter
from tests.unit.analyzer.scenario import COMPONENT, START, Scenario, closing_of, records_of


class _Log:
    """Empty, and one topic cannot be read."""

    control_topics: Sequence[str] = ()
    logs = TopicPartition("logs", 0)

    def kind_of(self, topic: str) -> str:
        return "triggers"

    def metrics(self, partition: int) -> TopicPartition:
        return TopicPartition("metrics", partition)

    def metrics_partition(self, component: str) -> TopicPartition:
        return TopicPartition("metrics", 0)

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def begins(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def first_at(self, partition: TopicPartition, time: datetime) -> int:
        return 0

    async def is_read_to(self, partition: TopicPartition, next_offset: int, end: int) -> bool:
        return True

    async def read(
        self,
        partition: TopicPartition,
        first: int,
        last: int,
        *,
        keep: Callable[[EvidenceRecord], bool] = lambda _: True,
    ) -> list[EvidenceRecord]:
        if partition.topic == "slow":
            raise DependencyUnavailable("slow[0] was not read to 9")
        return []

    async def read_portion(
        self,
        partition: TopicPartition,
        first: int,
        last: int,
        *,
        keep: Callable[[EvidenceRecord], bool],
        max_bytes: int,
    ) -> tuple[list[EvidenceRecord], int]:
        return await self.read(partition, first, last, keep=keep), last + 1


class _Store:
    """The incidents whose reports are still to be made."""

    def __init__(self, closings: Sequence[IncidentEvent]) -> None:
        self.left = {one.incident_id: one for one in closings}

    async def unreported(self) -> list[IncidentEvent]:
        return list(self.left.values())

    async def save_report(self, incident_id: str, sha256: str, directory: str) -> None:
        del self.left[incident_id]

    async def archiving(self, incident_id: str) -> list[Archiving]:
        return []

    async def begin_archiving(
        self, incident_id: str, component: str, topic: str, partition: int, first: int
    ) -> None: ...

    async def archive(
        self, incident_id: str, records: Sequence[EvidenceRecord], done: Archiving | None = None
    ) -> None: ...

    async def archived_between(
        self,
        incident_id: str,
        kind: str,
        topic: str,
        partition: int,
        first: int,
        last: int,
    ) -> list[EvidenceRecord]:
        return []

    async def report_failed(self, incident_id: str, error: str) -> None:
        raise AssertionError(f"{incident_id}: {error}")


def _closed(incident_id: str, topic: str) -> IncidentEvent:
    return IncidentEvent(
        kind="closed",
        incident_id=incident_id,
        component=COMPONENT,
        at=START,
        opened_at=START,
        reason="settled",
        ranges=(OffsetRange(topic=topic, partition=0, first=0, last=9),),
    )


async def test_a_report_that_cannot_be_made_now_holds_no_other_up() -> None:
    store = _Store([_closed("first", "slow"), _closed("second", "triggers"), _closed("third", "triggers")])
    log = _Log()
    made: list[str] = []

    def publish(report: Report) -> tuple[str, str]:
        made.append(report.incident_id)
        return "", ""

    from_log = Archiver(store, log, SystemClock(), look_back=START - START)
    reporter = Reporter(store, log, from_log, Failpoints({}), publish=publish)
    for _ in range(3):
        with pytest.raises(DependencyUnavailable):
            await reporter.look()
    assert made == ["second", "third"]
    assert list(store.left) == ["first"]


def test_others_metrics_and_logs_are_not_kept_while_reading() -> None:
    ours, others = Scenario(), Scenario(component="query_api")
    records = records_of(ours, ours.rolled_back())
    closing = closing_of(ours, records)
    assert all(may_be_of(closing, record) for record in records)
    theirs = [one for one in records_of(others, {}) if one.kind in ("metrics", "logs")]
    assert len(theirs) > 200
    assert not any(may_be_of(closing, record) for record in theirs)
