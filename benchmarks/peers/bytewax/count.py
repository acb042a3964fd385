"""Bytewax counting the samples of each component in windows of 10 seconds of event time.

    python count.py BOOTSTRAP TOPIC MESSAGES

Prints messages a second, from the end of the first batch to the last window, as JSON.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as windows
import orjson
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

WINDOW = timedelta(seconds=10)
BATCH = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Drop(StatelessSinkPartition):
    def write_batch(self, items):
        pass


class _Nowhere(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return _Drop()


def main() -> None:
    bootstrap, topic, _ = sys.argv[1:]
    seen = counted = 0
    first = began = 0.0

    def decode(messages):
        nonlocal seen, first, began
        samples = [orjson.loads(message.value) for message in messages]
        seen += len(samples)
        if not first:
            first, began = seen, time.perf_counter()
        return samples

    def note(count):
        nonlocal counted
        counted += count[1][1]
        return count

    flow = Dataflow("count")
    source = KafkaSource([bootstrap], [topic], tail=False, batch_size=BATCH)
    samples = op.flat_map_batch("decode", op.input("in", flow, source), decode)
    clock = windows.EventClock(
        lambda sample: datetime.fromtimestamp(sample["time"], UTC), timedelta(seconds=2)
    )
    counts = windows.count_window(
        "count",
        samples,
        clock,
        windows.TumblingWindower(WINDOW, align_to=EPOCH),
        lambda sample: sample["component"],
    )
    op.output("out", op.map("note", counts.down, note), _Nowhere())
    run_main(flow)
    rate = (seen - first) / (time.perf_counter() - began)
    print(json.dumps({"rate": rate, "seen": seen, "counted": counted}))


if __name__ == "__main__":
    main()
