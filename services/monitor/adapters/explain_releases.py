"""Releases of a component from before the records that an explanation is made from.

The live service remembers the newest one; where that is a later one than is asked about, or the
service has never run, they are looked for on the partition.
"""

from __future__ import annotations

import math

from chassis.kafka import Kafka, Record, TopicPartition, read_range
from schemas.metrics import epoch_seconds, read_record
from services.monitor.adapters.partition_log import read_memory
from services.monitor.domain.engine.intake import MAX_AHEAD_S
from services.monitor.domain.engine.releases import Release

_SAYS_RELEASE = b'"release"'
_LONG_S = 600.0


async def first_offset(kafka: Kafka, place: TopicPartition, time: float, end: int) -> int:
    """The first offset appended at ``time`` (epoch seconds) or later; ``end`` where there is none."""
    async with kafka.reader(place) as reader:
        found = (await reader.offsets_for_times({place: max(0, math.floor(time * 1000))}))[place]
    return end if found is None else found


async def releases_before(
    kafka: Kafka,
    place: TopicPartition,
    component: str,
    offset: int,
    *,
    since: float,
) -> list[Release]:
    """The releases of the component that were announced before ``offset``, the oldest first: the
    newest, if the live service remembers it, or those that were appended at ``since`` (epoch seconds) or
    later."""
    memory = await read_memory(kafka, place.partition)
    remembered = [each for each in memory.releases if each.component == component and each.offset < offset]
    if remembered:
        return remembered
    found: list[Release] = []

    def look_at(record: Record) -> None:
        if record.value is None or _SAYS_RELEASE not in record.value:
            return
        release = read_record(record.value).release
        if release is None or release.component != component:
            return
        time = epoch_seconds(release.time)
        # One from further ahead is a dead letter.
        if time - record.timestamp / 1000 <= MAX_AHEAD_S:
            found.append(Release(component, time, release.version, record.offset))

    begin = await first_offset(kafka, place, since, offset)
    await read_range(kafka, place, begin, offset - 1, each=look_at, timeout_s=_LONG_S)
    return sorted(found, key=lambda each: (each.time, each.offset))
