"""Topics and consumer groups as an operator sees them, over aiokafka's admin client.

``schemas/topics.yaml`` is the whole truth about backout's topics: what is missing is created,
a setting that differs is put right, and a different number of partitions is refused, since it
would send keys elsewhere in the middle of their history.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    for_code,
)

from chassis.errors import DependencyUnavailable, PermanentError
from chassis.kafka import Kafka, TopicPartition
from schemas.topics import Topic, TopicId, all_topics

_TOPIC_EXISTS = 36
_UNKNOWN_TOPIC = 3
_GROUP_COORDINATOR = 0
_TRANSACTION_COORDINATOR = 1
_SETTLE_TIMEOUT_S = 20.0


class TopicState(StrEnum):
    """How a topic on the broker stands to its definition."""

    MISSING = "missing"
    AS_DEFINED = "as defined"
    CONFIG_DIFFERS = "config differs"
    PARTITIONS_DIFFER = "partitions differ"


@dataclass(frozen=True, slots=True)
class TopicReport:
    """One topic: ``differences`` maps a setting to (on the broker, as defined)."""

    id: TopicId
    name: str
    state: TopicState
    partitions: int
    differences: Mapping[str, tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class GroupPartition:
    """What one group has read of one partition; ``lag`` is None where it committed nothing."""

    topic: str
    partition: int
    committed: int | None
    end: int
    member: str | None

    @property
    def lag(self) -> int | None:
        return None if self.committed is None else max(0, self.end - self.committed)


@dataclass(frozen=True, slots=True)
class GroupReport:
    """One consumer group: ``state`` in Kafka's words (Stable, Empty, PreparingRebalance, …)."""

    name: str
    state: str
    members: tuple[str, ...]
    partitions: tuple[GroupPartition, ...]


def compare(topic: Topic, partitions: int | None, config: Mapping[str, str]) -> TopicReport:
    """How a topic with ``partitions`` (None: there is none) and ``config`` stands to its definition."""
    identity = next(key for key, value in all_topics().items() if value.name == topic.name)
    differences: dict[str, tuple[str | None, str]] = {
        name: (config.get(name), wanted)
        for name, wanted in topic.config.items()
        if config.get(name) != wanted
    }
    if partitions is None:
        return TopicReport(identity, topic.name, TopicState.MISSING, topic.partitions, {})
    if partitions != topic.partitions:
        differences["partitions"] = (str(partitions), str(topic.partitions))
        state = TopicState.PARTITIONS_DIFFER
    else:
        state = TopicState.CONFIG_DIFFERS if differences else TopicState.AS_DEFINED
    return TopicReport(identity, topic.name, state, partitions, differences)


async def inspect_topics(kafka: Kafka) -> list[TopicReport]:
    """Every topic of backout on the broker against its definition, in the file's order."""
    with _reachable(kafka):
        async with kafka.admin() as admin:
            return await _inspect(kafka, admin)


async def ensure_topics(kafka: Kafka, *, replication: int = -1) -> list[TopicReport]:
    """Create what is missing and put settings right; the reports are of before.

    ``replication`` -1 is the broker's own default. Raises PermanentError for a topic whose number
    of partitions differs, before anything is changed.
    """
    with _reachable(kafka):
        async with kafka.admin() as admin:
            before = await _inspect(kafka, admin)
            wrong = [report for report in before if report.state is TopicState.PARTITIONS_DIFFER]
            if wrong:
                raise PermanentError(_refusal(kafka, wrong))
            missing = [report.id for report in before if report.state is TopicState.MISSING]
            await _create(kafka, admin, missing, replication)
            await _alter(kafka, admin, [r.id for r in before if r.state is TopicState.CONFIG_DIFFERS])
            await _wait_until_as_defined(kafka, admin)
            await _wait_for_leaders(kafka, admin)
            await _wait_for_coordinators(kafka, admin)
            return before


def _refusal(kafka: Kafka, wrong: Iterable[TopicReport]) -> str:
    found = [
        f"topic {kafka.topic(report.id)} has {has} partitions, not {wanted}"
        for report in wrong
        for has, wanted in [report.differences["partitions"]]
    ]
    return (
        "; ".join(found) + ". Changing that would break the order of each key: use another kafka.namespace, "
        "or delete the topic if its records are not needed"
    )


async def ensure_own_topic(
    kafka: Kafka, name: str, *, partitions: int, config: Mapping[str, str], replication: int = -1
) -> None:
    """Create a topic that a service keeps for itself alone, under its full ``name``, if it is missing."""
    new = NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=replication,
        replica_assignments={} if replication == -1 else None,
        topic_configs=dict(config),
    )
    with _reachable(kafka):
        async with kafka.admin() as admin:
            answer = await admin.create_topics([new])
    for _, code, *message in answer.topic_errors:
        if code not in (0, _TOPIC_EXISTS):
            raise PermanentError(
                f"topic {name} cannot be created: {for_code(code).__name__} {message[0] if message else ''}"
            )


async def partition_counts(kafka: Kafka) -> dict[str, int]:
    """The number of partitions of every topic on the broker, whosever it is, by full name."""
    with _reachable(kafka):
        async with kafka.admin() as admin:
            return {item["topic"]: len(item["partitions"]) for item in await admin.describe_topics(None)}


async def delete_topics(kafka: Kafka) -> None:
    """Delete every topic of backout in this namespace, with all that is in them."""
    with _reachable(kafka):
        async with kafka.admin() as admin:
            answer = await admin.delete_topics([kafka.topic(topic) for topic in all_topics()])
            for _, code in _pairs(answer.topic_error_codes):
                if code not in (0, _UNKNOWN_TOPIC):
                    raise PermanentError(f"a topic cannot be deleted: {for_code(code).__name__}")


async def inspect_groups(kafka: Kafka, *, prefix: str = "") -> list[GroupReport]:
    """Every consumer group whose name begins with ``prefix``: members, state, and lag by partition."""
    with _reachable(kafka):
        async with kafka.admin() as admin:
            listed = await admin.list_consumer_groups()
            names = sorted(name for name, *_ in listed if name.startswith(prefix))
            groups = [await _describe_group(admin, name) for name in names]
            offsets = {name: await _committed(admin, name) for name in names}
        wanted = {part for group in groups for part in group[2]} | {
            part for committed in offsets.values() for part in committed
        }
        ends = await _end_offsets(kafka, wanted)
    return [
        GroupReport(
            name,
            state,
            tuple(sorted(set(members.values()))),
            tuple(
                GroupPartition(
                    part.topic,
                    part.partition,
                    offsets[name].get(part),
                    ends[part],
                    members.get(assigned.get(part, "")),
                )
                for part in sorted({*assigned, *offsets[name]})
                if part in ends
            ),
        )
        for name, (state, members, assigned) in zip(names, groups, strict=True)
    ]


@contextlib.contextmanager
def _reachable(kafka: Kafka) -> Any:
    try:
        yield
    except (TimeoutError, KafkaConnectionError, KafkaTimeoutError, OSError) as error:
        raise DependencyUnavailable(
            f"Kafka at {kafka.bootstrap_servers} does not answer: {type(error).__name__}: {error}"
        ) from error
    except KafkaError as error:
        raise PermanentError(f"Kafka at {kafka.bootstrap_servers} refused: {error}") from error


async def _inspect(kafka: Kafka, admin: Any) -> list[TopicReport]:
    names = {kafka.topic(identity): topic for identity, topic in all_topics().items()}
    present = {
        item["topic"]: len(item["partitions"])
        for item in await admin.describe_topics(None)
        if item["topic"] in names
    }
    configs = await _configs(admin, present)
    # Of several brokers, one may not have heard yet of a topic that another has.
    known = {name: partitions for name, partitions in present.items() if name in configs}
    return [compare(topic, known.get(name), configs.get(name, {})) for name, topic in names.items()]


async def _configs(admin: Any, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The settings of those topics that the broker knows."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    configs: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            if code == _UNKNOWN_TOPIC:
                continue
            if code:
                raise PermanentError(f"the settings of topic {name} cannot be read: {message}")
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


async def _create(kafka: Kafka, admin: Any, wanted: list[TopicId], replication: int) -> None:
    if not wanted:
        return
    new = [
        NewTopic(
            kafka.topic(identity),
            num_partitions=all_topics()[identity].partitions,
            replication_factor=replication,
            # aiokafka takes "the broker's default" (-1) only beside an assignment, empty or not.
            replica_assignments={} if replication == -1 else None,
            topic_configs=dict(all_topics()[identity].config),
        )
        for identity in wanted
    ]
    answer = await admin.create_topics(new)
    for name, code, *message in answer.topic_errors:
        # Another process may have been first; its topic is the same one.
        if code not in (0, _TOPIC_EXISTS):
            raise PermanentError(
                f"topic {name} cannot be created: {for_code(code).__name__} {message[0] if message else ''}"
            )


async def _alter(kafka: Kafka, admin: Any, wanted: list[TopicId]) -> None:
    for identity in wanted:
        config = dict(all_topics()[identity].config)
        resource = ConfigResource(ConfigResourceType.TOPIC, kafka.topic(identity), configs=config)
        for answer in await admin.alter_configs([resource]):
            for code, message, *_ in answer.resources:
                if code:
                    raise PermanentError(f"topic {kafka.topic(identity)} cannot be changed: {message}")


async def _wait_until_as_defined(kafka: Kafka, admin: Any) -> None:
    """A broker hears of a change from its controller, after the change was acknowledged."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    while True:
        late = [r for r in await _inspect(kafka, admin) if r.state is not TopicState.AS_DEFINED]
        if not late:
            return
        if time.monotonic() > deadline:
            found = ", ".join(f"{kafka.topic(report.id)}: {report.state}" for report in late)
            raise DependencyUnavailable(f"topics were changed, but are still not as defined: {found}")
        await asyncio.sleep(0.05)


async def _wait_for_leaders(kafka: Kafka, admin: Any) -> None:
    """A topic that was just created answers once each partition has a leader."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    wanted = {kafka.topic(identity): topic.partitions for identity, topic in all_topics().items()}
    while True:
        led = {
            item["topic"]: sum(part["leader"] >= 0 for part in item["partitions"])
            for item in await admin.describe_topics(list(wanted))
        }
        if all(led.get(name) == count for name, count in wanted.items()):
            return
        if time.monotonic() > deadline:
            waiting = sorted(name for name, count in wanted.items() if led.get(name) != count)
            raise DependencyUnavailable(f"topics without a leader: {', '.join(waiting)}")
        await asyncio.sleep(0.05)


async def _wait_for_coordinators(kafka: Kafka, admin: Any) -> None:
    """A new broker makes its topics for groups and transactions when it is first asked for them,
    and until then answers clients with errors, which they log: so ask now."""
    deadline = time.monotonic() + _SETTLE_TIMEOUT_S
    for kind in (_GROUP_COORDINATOR, _TRANSACTION_COORDINATOR):
        while True:
            try:
                await admin.find_coordinator(kafka.group("topics"), kind)
                break
            except GroupCoordinatorNotAvailableError as error:
                if time.monotonic() > deadline:
                    raise DependencyUnavailable(f"no coordinator at {kafka.bootstrap_servers}") from error
            await asyncio.sleep(0.05)


_Group = tuple[str, dict[str, str], dict[TopicPartition, str]]


async def _describe_group(admin: Any, name: str) -> _Group:
    """(state, member id to its name, partition to member id)."""
    state, members, assigned = "Unknown", {}, {}
    for answer in await admin.describe_consumer_groups([name]):
        for code, _, state_now, _, _, described, *_ in answer.groups:
            if code:
                raise PermanentError(f"group {name} cannot be described: {for_code(code).__name__}")
            state = state_now
            for member_id, client_id, host, _, assignment, *_ in described:
                members[member_id] = f"{client_id}@{host.lstrip('/')}"
                for part in _assignment(assignment):
                    assigned[part] = member_id
    return state, members, assigned


def _assignment(data: bytes) -> list[TopicPartition]:
    if not data:
        return []
    decoded = ConsumerProtocolMemberAssignment.decode(data)
    return [TopicPartition(topic, part) for topic, parts in decoded.assignment for part in parts]


async def _committed(admin: Any, group: str) -> dict[TopicPartition, int]:
    offsets = await admin.list_consumer_group_offsets(group)
    return {
        TopicPartition(part.topic, part.partition): place.offset
        for part, place in offsets.items()
        if place.offset >= 0
    }


async def _end_offsets(kafka: Kafka, wanted: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """The ends of partitions that exist; a group may remember topics that do not."""
    async with kafka.admin() as admin:
        topics = {
            item["topic"]: {part["partition"] for part in item["partitions"]}
            for item in await admin.describe_topics(None)
        }
    present = [part for part in wanted if part.partition in topics.get(part.topic, ())]
    if not present:
        return {}
    async with kafka.reader(*present) as consumer:
        return await consumer.end_offsets(present)


def _pairs(items: Iterable[Any]) -> Iterable[tuple[str, int]]:
    return ((item[0], item[1]) for item in items)
