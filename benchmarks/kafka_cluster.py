"""Three brokers as one cluster on this machine: what one embedded broker cannot show.

Each node is broker and controller, as small clusters are run, and each topic is on all of them: one that
dies leaves a leader for every partition, and enough replicas to write to.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from chassis.embedded.kafka import EmbeddedKafka, new_cluster_id
from chassis.embedded.ports import HOST, free_ports, remember_ports

NODES = (1, 2, 3)
_SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Partition:
    """Who leads a partition, and who is in sync with the leader (node ids)."""

    leader: int
    in_sync: frozenset[int]


class KafkaCluster:
    """Brokers under ``directory``, as an async context manager."""

    def __init__(self, directory: Path, *, cache_dir: Path) -> None:
        ports = free_ports(2 * len(NODES))
        self._ports = {node: ports[2 * index : 2 * index + 2] for index, node in enumerate(NODES)}
        cluster_id = new_cluster_id()
        self.nodes: Mapping[int, EmbeddedKafka] = {
            node: EmbeddedKafka(
                directory / f"node-{node}",
                cache_dir=cache_dir,
                cluster_id=cluster_id,
                properties=self._properties(node),
            )
            for node in NODES
        }
        for node in NODES:
            (directory / f"node-{node}").mkdir(parents=True)
            remember_ports(directory / f"node-{node}" / "ports.json", self._ports[node])

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{HOST}:{broker}" for broker, _ in self._ports.values())

    def _properties(self, node: int) -> dict[str, str]:
        voters = ",".join(f"{each}@{HOST}:{controller}" for each, (_, controller) in self._ports.items())
        on_all = dict.fromkeys(
            (
                "default.replication.factor",
                "offsets.topic.replication.factor",
                "transaction.state.log.replication.factor",
                "share.coordinator.state.topic.replication.factor",
            ),
            str(len(NODES)),
        )
        return {
            **on_all,
            "node.id": str(node),
            "controller.quorum.voters": voters,
            "min.insync.replicas": "2",
            "transaction.state.log.min.isr": "2",
            # A broker that died is noticed after 3 s instead of 9.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # Leadership goes back to the preferred replica when this harness wants it to: never.
            "auto.leader.rebalance.enable": "false",
        }

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(asyncio.to_thread(node.start) for node in self.nodes.values()))
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        await asyncio.gather(*(asyncio.to_thread(node.stop) for node in self.nodes.values()))

    async def kill(self, node: int) -> None:
        """``kill -9``."""
        process = self.nodes[node].process
        if process is None:
            raise RuntimeError(f"node {node} does not run")
        os.kill(process.pid, signal.SIGKILL)
        await self.stop_one(node)

    async def stop_one(self, node: int) -> None:
        """SIGTERM: it hands its partitions over before it ends."""
        await asyncio.to_thread(self.nodes[node].stop)

    async def start_one(self, node: int) -> None:
        await asyncio.to_thread(self.nodes[node].start)

    async def partitions(self, topic: str) -> dict[int, Partition]:
        """The partitions of a topic, as the brokers have them now."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            (described,) = await admin.describe_topics([topic])
        finally:
            await admin.close()
        return {
            each["partition"]: Partition(each["leader"], frozenset(each["isr"]))
            for each in described["partitions"]
        }

    async def until_led(self, topic: str, *, without: int) -> float:
        """Wait until every partition is led by another node than ``without``; for how many seconds."""
        return await self._until(
            topic, lambda found: found.leader >= 0 and found.leader != without, "has other leaders"
        )

    async def until_in_sync(self, topic: str) -> float:
        """Wait until every partition is on every node; for how many seconds."""
        return await self._until(topic, lambda found: found.in_sync == {*NODES}, "is in sync")

    async def _until(self, topic: str, holds: Callable[[Partition], bool], what: str) -> float:
        began = time.monotonic()
        found: dict[int, Partition] = {}
        while time.monotonic() - began < _SETTLE_S:
            try:
                found = await self.partitions(topic)
                if all(holds(each) for each in found.values()):
                    return time.monotonic() - began
            except KafkaError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError(f"not within {_SETTLE_S:g} s: {topic} {what}: {found}")
