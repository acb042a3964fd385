"""Evidence is archived in portions that fit into memory, however large its records are."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.kafka import Kafka
from chassis.postgres import migrate, open_pool
from chassis.settings import Settings
from services.analyzer.adapters.log import Log
from services.analyzer.adapters.store import SCHEMA, Store
from services.analyzer.domain.evidence import Archiving, EvidenceRecord
from services.analyzer.handlers import archiving
from services.analyzer.handlers.archiving import Archiver
from services.analyzer.main import MIGRATIONS
from tests.unit.analyzer.scenario import START

LIMIT, LARGE = 1_000_000, 300_000


class Watched(Store):
    """The store, which tells how much it was given at once, and how far that went."""

    def watch(self) -> list[tuple[int, int]]:
        self.given: list[tuple[int, int]] = []
        return self.given

    async def archive(
        self, incident_id: str, records: Sequence[EvidenceRecord], done: Archiving | None = None
    ) -> None:
        assert done is not None
        self.given.append((sum(len(one.value or b"") for one in records), done.next_offset))
        await super().archive(incident_id, records, done)


def line(component: str, size: int) -> bytes:
    fields = {"time": START.isoformat(), "component": component, "severity": "info", "body": "x" * size}
    return msgspec.json.encode(fields)


@pytest.mark.usefixtures("topics")
async def test_large_records_are_stored_as_they_are_read(
    settings: Settings, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "_CHUNK_BYTES", LIMIT)
    async with kafka.producer(transactional_id=kafka.group("test")) as producer:
        for number in range(20):
            async with producer.transaction():
                for component, size in (("ours", LARGE), ("theirs", LARGE), ("ours", number)):
                    await producer.send(kafka.topic("logs"), line(component, size))
    async with open_pool(settings, "analyzer") as pool, Log.open(kafka) as source:
        await migrate(pool, SCHEMA, MIGRATIONS)
        store = Watched(pool)
        given = store.watch()
        end = (await source.ends([source.logs]))[source.logs]
        await store.begin_archiving("incident", "ours", source.logs.topic, 0, 0)
        [one] = await store.archiving("incident")
        archiver = Archiver(store, source, SystemClock(), look_back=START - START)
        await archiver.archive_to("incident", one, end - 1)

        assert len(given) >= 20 * LARGE // (LIMIT + LARGE)
        assert max(size for size, _ in given) < LIMIT + LARGE + 1_000
        assert given[-1][1] == end
        kept = await store.archived_between("incident", "logs", source.logs.topic, 0, 0, end)
        assert [len(record.value or b"") > LARGE for record in kept] == [True, False] * 20
        assert (await store.archiving("incident"))[0].next_offset == end
