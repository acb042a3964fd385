"""Faust counting the samples of each component in windows of 10 seconds of event time.

    python count.py BOOTSTRAP TOPIC MESSAGES

Prints messages a second, from the first to the last of so many, as JSON.
"""

import asyncio
import contextlib
import json
import secrets
import sys
import time

import faust

WINDOW_S = 10.0
PATIENCE_S = 90.0


async def main() -> None:
    bootstrap, name, messages = sys.argv[1:]
    wanted, seen = int(messages), 0
    began = ended = 0.0
    done = asyncio.Event()
    app = faust.App(
        f"bench-faust-{secrets.token_hex(4)}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        topic_partitions=4,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        autodiscover=False,
        broker_session_timeout=10.0,
        broker_heartbeat_interval=3.0,
        stream_wait_empty=False,
    )
    topic = app.topic(name, key_serializer="raw", value_serializer="json")
    counts = app.Table("counts", default=int, partitions=4).tumbling(WINDOW_S, expires=WINDOW_S)

    @app.agent(topic)
    async def count(stream):
        nonlocal seen, began, ended
        async for sample in stream:
            counts[sample["component"]] += 1
            seen += 1
            ended = time.perf_counter()
            began = began or ended
            if seen == wanted:
                done.set()

    app.finalize()
    await app.start()
    try:
        await asyncio.wait_for(done.wait(), PATIENCE_S)
    finally:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(app.stop(), 10.0)
    print(json.dumps({"rate": (seen - 1) / (ended - began), "seen": seen}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
