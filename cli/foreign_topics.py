"""The topics that ingest reads are other systems', and no part of backout's definitions. But the
monitor does not start without them, and on a broker that backout itself has started nobody else
could have made them."""

from __future__ import annotations

from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_own_topic, partition_counts
from chassis.settings import IngestSettings


async def missing_foreign_topics(kafka: Kafka, ingest: IngestSettings) -> list[str]:
    """Those that the settings name, of sources that are switched on, and the broker does not have."""
    wanted = ingest.topics
    present = await partition_counts(kafka) if wanted else {}
    return [topic for topic in wanted if topic not in present]


async def create_foreign_topics(kafka: Kafka, ingest: IngestSettings) -> list[str]:
    """Create the missing ones, with one partition each and the broker's own settings; which they were."""
    missing = await missing_foreign_topics(kafka, ingest)
    for topic in missing:
        await ensure_own_topic(kafka, topic, partitions=1, config={})
    return missing
