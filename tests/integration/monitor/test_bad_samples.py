"""Bad input on the metrics topic: each unreadable record becomes a dead letter that names its
place, the good ones count, time does not move, and the monitor goes on."""

from __future__ import annotations

import json
import time

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from chassis.settings import Settings
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure, sample

RULES = "triggers: [{name: slow, metric: ms, when: '> 100', staleness: 10s}]\n"


def _bad(now: float) -> list[tuple[str, bytes | None, str]]:
    """(name, value, reason) of each kind of unreadable record."""
    fields = {"metric": "ms", "component": "c", "value": 1, "time": now}
    return [
        ("empty", b"", "empty"),
        ("tombstone", None, "empty"),
        ("utf8", b'{"metric":"\xff","component":"c","value":1,"time":1}', "invalid_utf8"),
        ("truncated", sample("ms", "c", 1, now)[:-9], "invalid_json"),
        ("nan", b'{"metric":"ms","component":"c","value":NaN,"time":1}', "invalid_json"),
        ("1e999", b'{"metric":"ms","component":"c","value":1e999,"time":1}', "invalid_sample"),
        ("type", json.dumps({**fields, "value": "1"}).encode(), "invalid_sample"),
        ("missing", json.dumps({"metric": "ms", "value": 1, "time": now}).encode(), "invalid_sample"),
        ("negative", json.dumps({**fields, "time": -5}).encode(), "invalid_time"),
        ("future", json.dumps({**fields, "value": 999, "time": now + 3_600}).encode(), "future_time"),
        ("nested", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "too_deep"),
    ]


async def test_each_kind_is_set_aside_with_its_place_and_the_monitor_goes_on(
    stage: Stage, settings: Settings
) -> None:
    configure(stage.directory, RULES)
    now = time.time()
    bad = _bad(now)
    with running_monitor(settings, stage.directory) as monitor:
        await stage.publish([("c", sample("ms", "c", 50, now - 20))])
        await stage.publish([("c", value) for _, value, _ in bad])
        batch = {
            "component": "c",
            "samples": [
                {"metric": "ms", "value": 50, "time": now - 12},
                {"metric": "ms", "value": "x", "time": now - 12},
                {"metric": "ms", "value": 500, "time": now - 10, "unknown": {"field": 1}},
            ],
        }
        await stage.publish([("c", json.dumps(batch).encode()), ("c", sample("ms", "c", 50, now - 5))])
        await stage.caught_up()
        assert monitor.returncode is None
        exposed = await monitor.metrics()
        assert await monitor.stop() == 0, monitor.log

    letters = await stage.dead_letters()
    names = [name for name, _, _ in bad]
    by_name = dict(zip(names, letters, strict=False))
    for offset, (name, value, reason) in enumerate(bad, start=1):
        place, kept = by_name[name]
        assert (name, place.reason) == (name, reason)
        assert place.topic == stage.kafka.topic("metrics")
        assert place.offset == offset
        assert place.consumer == "monitor"
        assert place.item is None
        assert kept == value
    (mixed,) = letters[len(bad) :]
    assert (mixed[0].reason, mixed[0].item) == ("invalid_sample", 1)
    assert f'backout_monitor_samples_total{{partition="{mixed[0].partition}"}} 4.0' in exposed
    # The good sample of the mixed batch fired; the one of the far future neither counted nor
    # moved time to where the breach would have gone unseen.
    first = (await stage.told())[0].data
    assert (first.kind, first.value) == ("fired", 500.0)
    assert first.at.timestamp() <= now


async def test_a_message_of_five_megabytes_never_reaches_the_log(stage: Stage) -> None:
    value = sample("ms", "c", 1, time.time(), note="x" * 5_000_000)
    with pytest.raises(MessageSizeTooLargeError):
        await stage.publish([("c", value)])
    assert all(end == 0 for end in (await stage.ends()).values())


async def test_too_many_in_a_row_stop_the_monitor_before_they_drain_the_topic(
    stage: Stage, settings: Settings
) -> None:
    configure(stage.directory, RULES)
    environment = {"BACKOUT_KAFKA__DEAD_LETTERS_IN_A_ROW": "10"}
    await stage.publish([("c", b"not a sample")] * 50)
    for _ in range(2):
        with running_monitor(settings, stage.directory, environment=environment) as monitor:
            assert await monitor.ended() == 1
            assert "10 unreadable records in a row" in monitor.log
            assert "Traceback" not in monitor.log
    assert await stage.dead_letters() == []


async def test_good_records_in_between_keep_the_count_low(stage: Stage, settings: Settings) -> None:
    configure(stage.directory, RULES)
    now = time.time()
    mixed = [b"not a sample", sample("ms", "c", 1, now)] * 30
    environment = {"BACKOUT_KAFKA__DEAD_LETTERS_IN_A_ROW": "2"}
    with running_monitor(settings, stage.directory, environment=environment) as monitor:
        await stage.publish([("c", value) for value in mixed])
        await stage.caught_up()
        assert await monitor.stop() == 0, monitor.log
    assert len(await stage.dead_letters()) == 30


async def test_bad_records_before_any_sample_are_set_aside_only_once(
    stage: Stage, settings: Settings
) -> None:
    configure(stage.directory, RULES)
    await stage.publish([("c", b"not a sample")] * 3)
    for _ in range(2):
        with running_monitor(settings, stage.directory) as monitor:
            await monitor.ready()
            await stage.caught_up()
            assert await monitor.stop() == 0, monitor.log
    assert [place.offset for place, _ in await stage.dead_letters()] == [0, 1, 2]
