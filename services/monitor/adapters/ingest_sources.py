"""The foreign topics that the settings name, each with its translator, as running loops."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from chassis.errors import ConfigError
from chassis.failpoints import Failpoints
from chassis.kafka import Consumer, Kafka
from chassis.kafka_admin import partition_counts
from chassis.settings import IngestSettings, Settings
from schemas.topics import all_topics
from services.monitor.adapters.origin_takeover import OriginTakeover
from services.monitor.domain.ingest.names import Names
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_json, decode_protobuf
from services.monitor.domain.ingest.prometheus import PrometheusTerms, PrometheusTranslator
from services.monitor.domain.ingest.translation import Translator
from services.monitor.handlers.ingest import Ingest
from services.monitor.handlers.origin import IngestMeter

METADATA_MAX_AGE_MS = 20_000
"""Another system may add partitions, or make its topic anew: until that is noticed, nothing of it is read."""


@dataclass(frozen=True, slots=True)
class Source:
    """A foreign topic: what it is called in groups and metrics, and how it is read."""

    name: str
    topic: str
    translator: Callable[[], Translator]


def sources(settings: IngestSettings, names: Names) -> Iterator[Source]:
    """The sources that are switched on."""
    otlp, prometheus = settings.otlp, settings.prometheus
    if otlp.enabled:
        decode = decode_protobuf if otlp.encoding == "protobuf" else decode_json
        terms = OtlpTerms(otlp.component_attribute, otlp.default_component, tuple(otlp.resource_labels))
        yield Source("otlp", otlp.topic, lambda: OtlpTranslator(decode, terms, names))
    if prometheus.enabled:
        by_label = PrometheusTerms(prometheus.component_label, prometheus.default_component)
        yield Source("prometheus", prometheus.topic, lambda: PrometheusTranslator(by_label, names))


async def checked_sources(settings: Settings, kafka: Kafka, names: Names) -> list[Source]:
    """The sources that are switched on.

    Raises ConfigError where a topic is missing (it is another system's, and is not made here), or
    is one of backout's own, which would be translated in a circle.
    """
    wanted = list(sources(settings.monitor.ingest, names))
    present = await partition_counts(kafka) if wanted else {}
    own = {kafka.topic(topic) for topic in all_topics()}
    for source in wanted:
        place = f"BACKOUT_MONITOR__INGEST__{source.name.upper()}__TOPIC"
        mend = "Name the topic that the other system writes, or create it: `backout topics init --ingest`"
        if source.topic in own:
            raise ConfigError(f"{source.topic!r} is a topic of backout", place=place, mend=mend)
        if source.topic not in present:
            raise ConfigError(f"there is no topic {source.topic!r}", place=place, mend=mend)
    return wanted


@contextlib.asynccontextmanager
async def opened_ingest(
    settings: Settings, kafka: Kafka, source: Source, meter: IngestMeter, failpoints: Failpoints
) -> AsyncIterator[tuple[Ingest, Consumer]]:
    """The loop of a source and its consumer, which has joined its group."""
    group = kafka.group(f"ingest-{source.name}")
    takeover = OriginTakeover(
        kafka,
        source.name,
        group,
        source.translator,
        meter,
        failpoints=failpoints,
        dead_letter_limit=settings.kafka.dead_letters_in_a_row,
        carry_traces=settings.tracing.enabled,
    )
    ingest = Ingest(source.name, takeover.partition, max_records=settings.monitor.ingest.fetch_max_records)
    async with kafka.consumer(
        source.topic,
        group=group,
        instance=settings.instance,
        listener=ingest,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
    ) as consumer:
        ingest.attach(consumer)
        takeover.attach(consumer)
        yield ingest, consumer
