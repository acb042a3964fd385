"""What the handlers need of the log and of the store: the adapters satisfy it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from chassis.kafka import TopicPartition
from schemas.envelope import Event
from schemas.incidents import IncidentEvent
from services.analyzer.domain.closing import Assessment
from services.analyzer.domain.evidence import Archiving, EvidenceRecord
from services.analyzer.domain.incident import Incident


class Log(Protocol):
    """Places in the log, and what is there."""

    @property
    def control_topics(self) -> Sequence[str]: ...
    @property
    def logs(self) -> TopicPartition: ...

    def kind_of(self, topic: str) -> str: ...
    def metrics(self, partition: int) -> TopicPartition: ...
    def metrics_partition(self, component: str) -> TopicPartition: ...
    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def begins(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def first_at(self, partition: TopicPartition, time: datetime) -> int: ...
    async def is_read_to(self, partition: TopicPartition, next_offset: int, end: int) -> bool: ...
    async def read(
        self,
        partition: TopicPartition,
        first: int,
        last: int,
        *,
        keep: Callable[[EvidenceRecord], bool] = ...,
    ) -> list[EvidenceRecord]: ...
    async def read_portion(
        self,
        partition: TopicPartition,
        first: int,
        last: int,
        *,
        keep: Callable[[EvidenceRecord], bool],
        max_bytes: int,
    ) -> tuple[list[EvidenceRecord], int]: ...


class OpenIncidents(Protocol):
    """The open incidents, by id."""

    def all(self) -> Mapping[str, Incident]: ...


class ClosingStore(Protocol):
    """What closing needs of the store."""

    async def progress(self, topics: Iterable[str]) -> dict[str, int]: ...
    async def first_archived(self, incident_id: str, topics: Iterable[str]) -> dict[str, int]: ...
    async def archiving(self, incident_id: str) -> list[Archiving]: ...
    async def note_waiting(self, incident_id: str, assessment: Assessment) -> None: ...
    async def announce(self, event: Event[IncidentEvent]) -> None: ...


class EvidenceStore(Protocol):
    """What archiving and reporting need of the store."""

    async def archiving(self, incident_id: str) -> list[Archiving]: ...
    async def begin_archiving(
        self, incident_id: str, component: str, topic: str, partition: int, first: int
    ) -> None: ...
    async def archive(
        self, incident_id: str, records: Sequence[EvidenceRecord], done: Archiving | None = None
    ) -> None: ...
    async def archived_between(
        self, incident_id: str, kind: str, topic: str, partition: int, first: int, last: int
    ) -> list[EvidenceRecord]: ...
    async def unreported(self) -> list[IncidentEvent]: ...
    async def save_report(self, incident_id: str, sha256: str, directory: str) -> None: ...
    async def report_failed(self, incident_id: str, error: str) -> None: ...
