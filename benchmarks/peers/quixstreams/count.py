"""Quix Streams counting the samples of each component in windows of 10 seconds of event time.

    python count.py BOOTSTRAP TOPIC MESSAGES

Prints messages a second, from the first to the last of so many, as JSON.
"""

import json
import secrets
import sys
import tempfile
import time

from quixstreams import Application

WINDOW_MS = 10_000


def main() -> None:
    bootstrap, name, messages = sys.argv[1:]
    wanted, seen = int(messages), 0
    began = ended = 0.0

    def event_time(value, _headers, _timestamp, _kind):
        nonlocal seen, began, ended
        seen += 1
        ended = time.perf_counter()
        began = began or ended
        if seen == wanted:
            app.stop()
        return int(value["time"] * 1_000)

    with tempfile.TemporaryDirectory(prefix="backout-quix-") as state:
        app = Application(
            broker_address=bootstrap,
            consumer_group=f"bench-quix-{secrets.token_hex(4)}",
            auto_offset_reset="earliest",
            state_dir=state,
            loglevel="WARNING",
            # The client's own default doubles the time of a comparison.
            consumer_extra_config={"fetch.queue.backoff.ms": 10},
        )
        topic = app.topic(name, value_deserializer="json", timestamp_extractor=event_time)
        counts = app.dataframe(topic).tumbling_window(WINDOW_MS, grace_ms=2_000).count().final()
        counts.update(lambda _: None)
        app.run()
    print(json.dumps({"rate": (seen - 1) / (ended - began), "seen": seen}))


if __name__ == "__main__":
    main()
