"""A relay as a process of its own, to be killed: ``python -m … BOOTSTRAP NAMESPACE DSN``.

It sends what is in the outbox of the schema ``parts`` and ends when that is empty.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from chassis.failpoints import Failpoints
from chassis.kafka import Kafka
from chassis.outbox import Outbox, OutboxRelay
from chassis.postgres import open_pool
from chassis.settings import KafkaSettings, PostgresSettings, Settings
from tests.integration.chassis.parts import SCHEMA, UNSENT
from tests.polling import eventually


async def relay(arguments: Sequence[str]) -> None:
    bootstrap, namespace, dsn = arguments
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers=bootstrap, namespace=namespace),
        postgres=PostgresSettings.model_validate({"dsn": dsn}),
    )
    kafka = Kafka.of(settings, "relay")
    stop = asyncio.Event()
    async with open_pool(settings, "relay") as pool, kafka.producer() as producer:
        work = OutboxRelay(pool, Outbox(SCHEMA), kafka, producer, Failpoints.from_environment())
        running = asyncio.create_task(work.run(stop))

        async def all_sent() -> bool:
            return not await pool.fetchval(UNSENT)

        await eventually(all_sent, what="all sent")
        stop.set()
        await running


if __name__ == "__main__":
    asyncio.run(relay(sys.argv[1:]))
