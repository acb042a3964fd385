"""Topics and groups on the real broker."""

from __future__ import annotations

import pytest
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from chassis.errors import DependencyUnavailable, PermanentError
from chassis.kafka import Kafka, TopicPartition
from chassis.kafka_admin import TopicState, ensure_topics, inspect_groups, inspect_topics
from chassis.settings import KafkaSettings
from schemas.topics import all_topics
from tests.polling import eventually


async def some_topic_is(kafka: Kafka, state: TopicState) -> bool:
    """Whether the broker already shows a topic in ``state``."""
    return any(report.state is state for report in await inspect_topics(kafka))


async def test_init_creates_every_topic_as_defined_and_again_changes_nothing(kafka: Kafka) -> None:
    before = await ensure_topics(kafka)
    again = await ensure_topics(kafka)

    assert {report.state for report in before} == {TopicState.MISSING}
    assert {report.state for report in again} == {TopicState.AS_DEFINED}
    assert [report.id for report in again] == list(all_topics())
    assert {report.id: report.partitions for report in again} == {
        identity: topic.partitions for identity, topic in all_topics().items()
    }


@pytest.mark.usefixtures("topics")
async def test_init_puts_a_drifted_setting_right(kafka: Kafka) -> None:
    drift = ConfigResource(ConfigResourceType.TOPIC, kafka.topic("metrics"), configs={"retention.ms": "1000"})
    async with kafka.admin() as admin:
        await admin.alter_configs([drift])
    # The broker hears of it from its controller a moment after it was acknowledged.
    await eventually(lambda: some_topic_is(kafka, TopicState.CONFIG_DIFFERS))

    found = {report.id: report for report in await ensure_topics(kafka)}

    assert found["metrics"].state is TopicState.CONFIG_DIFFERS
    assert found["metrics"].differences["retention.ms"] == ("1000", "604800000")
    assert {report.state for report in await inspect_topics(kafka)} == {TopicState.AS_DEFINED}


async def test_init_refuses_another_number_of_partitions_and_changes_nothing(kafka: Kafka) -> None:
    async with kafka.admin() as admin:
        await admin.create_topics([NewTopic(kafka.topic("triggers"), 3, 1)])
    await eventually(lambda: some_topic_is(kafka, TopicState.PARTITIONS_DIFFER))

    with pytest.raises(PermanentError, match=r"triggers\.v1 has 3 partitions, not 1"):
        await ensure_topics(kafka)

    states = {report.id: report.state for report in await inspect_topics(kafka)}
    assert states["triggers"] is TopicState.PARTITIONS_DIFFER
    assert {state for identity, state in states.items() if identity != "triggers"} == {TopicState.MISSING}


@pytest.mark.usefixtures("topics")
async def test_lag_counts_what_a_group_has_not_committed(kafka: Kafka) -> None:
    topic, group = kafka.topic("commands"), kafka.group("lag-test")
    async with kafka.producer() as producer:
        for number in range(5):
            await producer.send(topic, str(number).encode())
    async with kafka.consumer(topic, group=group) as consumer:
        received = 0
        while received < 5:
            received += sum(map(len, (await consumer.getmany(timeout_ms=500)).values()))
        await consumer.commit({TopicPartition(topic, 0): 2})
        (running,) = await inspect_groups(kafka, prefix=group)
    (stopped,) = await inspect_groups(kafka, prefix=group)

    assert (running.state, len(running.members)) == ("Stable", 1)
    (part,) = running.partitions
    assert (part.committed, part.end, part.lag) == (2, 5, 3)
    assert part.member == running.members[0]
    assert (stopped.state, stopped.members) == ("Empty", ())
    assert stopped.partitions[0].lag == 3
    assert stopped.partitions[0].member is None


async def test_a_broker_that_is_not_there_is_named(unused_tcp_port: int) -> None:
    absent = Kafka(f"127.0.0.1:{unused_tcp_port}", KafkaSettings(), client_id="test")
    with pytest.raises(DependencyUnavailable, match=str(unused_tcp_port)):
        await inspect_topics(absent)
