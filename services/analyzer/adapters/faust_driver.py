"""Faust's driver of aiokafka, made not to lose records.

Faust reads what was never committed, drops what it fetched while topics change hands, commits what it was
told of in an earlier generation, and waits for ever for a broker that is away. Each change here
says which of these it is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from faust.transport.drivers import aiokafka as driver
from mode.threads import WorkerThread

from chassis.kafka_membership import InstanceNameTaken, Memberships
from chassis.kafka_stop import Reach
from chassis.process import cancel_until_ended

_STOP_TIMEOUT_S = 10.0
_NO_BROKER_TIMEOUT_S = 0.5
_THREAD_TIMEOUT_S = 2.0
# A restart waits for the fetch that is under way, as long as this.
_FETCH_TIMEOUT_S = 0.1


class FetchOrder:
    """Which record was fetched right before which, until the latter is handed over."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], int] = {}
        self._before: dict[tuple[str, int, int], int] = {}

    def note(self, fetched: Mapping[Any, Sequence[Any]]) -> None:
        """Take note of records by partition, in their order."""
        for (topic, partition), records in fetched.items():
            for record in records:
                last = self._last.get((topic, partition))
                if last is not None and last < record.offset:
                    self._before[topic, partition, record.offset] = last
                self._last[topic, partition] = record.offset

    def take(self, topic: str, partition: int, offset: int) -> int | None:
        return self._before.pop((topic, partition, offset), None)

    def clear(self) -> None:
        """The places to read from are set anew."""
        self._last.clear()
        self._before.clear()


class _Thread(WorkerThread):  # type: ignore[misc, unused-ignore]
    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        # Where Faust could not be stopped in good order, nobody tells its thread to end.
        self.daemon = True

    def stop(self) -> None:
        # Called in the main loop, where it would wait for the thread for ever.
        self.is_stopped.wait(_THREAD_TIMEOUT_S)


class CommittedThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc, unused-ignore]
    logger = driver.logger
    Worker = _Thread

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust reads committed records only under exactly_once, which would wrap every effect of
        # this service into a transaction that cannot hold Postgres. Triggers are written in
        # transactions: an aborted one has not happened.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_start(self) -> None:
        await super().on_start()
        # Started, and not subscribed yet: it has not joined.
        transport = cast("Transport", self.transport)
        transport.memberships.watch(self._ensure_consumer()._coordinator, transport.told)

    async def on_thread_stop(self) -> None:
        # Without a broker aiokafka's consumer may end in a cancellation of its own, or not at all. Faust
        # would never learn that its thread has ended, and the process would wait for it for ever.
        stopping = asyncio.ensure_future(super().on_thread_stop())
        reach = cast("Transport", self.transport).reach
        await asyncio.wait({stopping}, timeout=reach.wait_s(_STOP_TIMEOUT_S))
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)

    async def seek_to_committed(self) -> Any:
        return await self.call_thread(self._seek_everywhere)

    async def _seek_everywhere(self) -> Any:
        # What was fetched while the table was being restored has been dropped. Where the group has
        # committed nothing yet, Faust would go on after it, and not from the beginning.
        consumer = self._ensure_consumer()
        committed = await consumer.seek_to_committed()
        own = self.app.tables.changelog_topics
        fresh = [part for part, offset in committed.items() if not offset and part.topic not in own]
        begins = await consumer.beginning_offsets(fresh) if fresh else {}
        for part in fresh:
            consumer.seek(part, begins[part])
        return committed


class CommittedConsumer(driver.Consumer):  # type: ignore[misc, unused-ignore]
    """Takes nothing from the followed topics between their seek and the start of the flow.

    After the restoring, Faust makes the topics' partitions active, then seeks in them, then empties
    the queues on the way to the agent: what came between the last two would be lost. And it hands its
    living set of active partitions to a fetch. Where that set becomes empty meanwhile, the fetch
    takes from every partition, and Faust drops what it did not ask for.
    """

    logger = driver.logger

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held: frozenset[Any] = frozenset()
        self._fetching = asyncio.Lock()
        self._restored = 0
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> Any:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)

    def pause_partitions(self, tps: Iterable[Any]) -> None:
        # A new assignment begins with a pause: what an unfinished one has held is void.
        self._held = frozenset()
        self._order.clear()
        super().pause_partitions(tps)

    def resume_partitions(self, tps: Iterable[Any]) -> None:
        own = {part for part in tps if self._is_changelog_tp(part)}
        self._held |= frozenset(tps) - own
        super().resume_partitions(own)

    def resume_flow(self) -> None:
        # The queues have just been emptied, with no turn of the loop since then.
        super().resume_flow()
        held, self._held = self._held, frozenset()
        super().resume_partitions(held)

    async def on_stop(self) -> None:
        # The last commit waits for a broker, for ever if need be, and swallows a cancellation. What is not
        # committed is handed over again at the next start, and known by its progress.
        committing = asyncio.ensure_future(super().on_stop())
        await asyncio.wait({committing}, timeout=stop_timeout_s(self._reach))
        await end(committing, within_s=_NO_BROKER_TIMEOUT_S)

    async def perform_seek(self) -> None:
        # A fetch that is under way could move the positions on after the seek.
        async with self._fetching:
            self._order.clear()
            await super().perform_seek()
            # What was acknowledged before is read again, and Faust would commit beyond what was not.
            for part in [part for part in self._acked if not self._is_changelog_tp(part)]:
                del self._acked[part]
                self._acked_index.pop(part, None)

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        active = self._get_active_partitions()
        if not active:
            await self.sleep(_FETCH_TIMEOUT_S)
            return {}, active
        async with self._fetching:
            generation = self.app.consumer_generation_id
            fetched = await self._getmany(set(active), min(timeout, _FETCH_TIMEOUT_S))
            self._restored += sum(len(of) for part, of in fetched.items() if self._is_changelog_tp(part))
            followed = {part: of for part, of in fetched.items() if not self._is_changelog_tp(part)}
            if generation != self.app.consumer_generation_id:
                # Faust would take them for records of the new generation. They are read again after its seek.
                self._order.clear()
                return {part: of for part, of in fetched.items() if part not in followed}, active
            self._order.note(followed)
            return fetched, active

    @property
    def restored(self) -> int:
        """How many records of the table's changelog have been fetched."""
        return self._restored

    @property
    def _order(self) -> FetchOrder:
        return cast("Transport", self.transport).order

    @property
    def _reach(self) -> Reach:
        return cast("Transport", self.transport).reach


class Transport(driver.Transport):  # type: ignore[misc, unused-ignore]
    Consumer = CommittedConsumer
    memberships: Memberships
    told: Callable[[InstanceNameTaken], None]
    reach: Reach
    order: FetchOrder


def stop_timeout_s(reach: Reach) -> float:
    return reach.wait_s(_STOP_TIMEOUT_S, without=_NO_BROKER_TIMEOUT_S)


async def end(stopping: asyncio.Future[Any], *, within_s: float) -> None:
    """Cancel what has not ended by itself; raises what it failed with."""
    await cancel_until_ended([stopping], within_s)
    if stopping.done() and not stopping.cancelled():
        stopping.result()
