"""``backout dead-letters`` on what a real monitor has set aside, until the mended one reads it."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from chassis.dead_letters import DeadLetters
from chassis.settings import Settings
from tests.integration.conftest import Backout, Ran
from tests.integration.monitor.foreign import Foreign, translated
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure
from tests.unit.monitor.ingest.requests import gauge, number, request

RULES = "triggers: [{name: deep, metric: depth, when: '> 100'}]\n"


def _listed(backout: Backout, *options: str) -> list[dict[str, Any]]:
    ran = backout("dead-letters", "list", "-o", "json", *options)
    assert ran.status == 0, ran.err
    letters: list[dict[str, Any]] = json.loads(ran.out)
    return letters


async def _set_aside(stage: Stage, settings: Settings, foreign: Foreign, values: list[bytes | None]) -> None:
    with running_monitor(settings, stage.directory, environment=foreign.environment()) as monitor:
        await foreign.publish(values, partition=1)
        await foreign.caught_up()
        assert await monitor.stop() == 0, monitor.log


async def test_a_mended_mapping_reads_what_was_requeued(
    stage: Stage, settings: Settings, backout: Backout
) -> None:
    configure(stage.directory, RULES)
    foreign = await Foreign.create(stage)
    value = request(gauge("depth", number(7.0, at=time.time() - 5)), service_name="shop/checkout")
    await _set_aside(stage, settings, foreign, [b"\xff\xfe", None, value])
    broken, empty, unmapped = _listed(backout)
    assert [letter["reason"] for letter in (broken, empty, unmapped)] == [
        "invalid_protobuf",
        "empty",
        "invalid_component",
    ]
    assert (unmapped["topic"], unmapped["partition"], unmapped["offset"]) == (foreign.topic, 1, 2)
    assert _listed(backout, "--reason", "empty") == [empty]
    assert _listed(backout, "--topic", foreign.topic, "--limit", "1") == [unmapped]
    assert _listed(backout, "--since", "2100-01-01T00:00:00Z") == []
    table = backout("dead-letters", "list")
    assert table.out.splitlines()[3].split()[:3:2] == [unmapped["id"], foreign.topic]

    shown = json.loads(backout("dead-letters", "show", broken["id"], "-o", "json").out)
    assert base64.b64decode(shown["value"]["base64"]) == b"\xff\xfe"
    assert "shop/checkout" in backout("dead-letters", "show", unmapped["id"]).out

    (stage.directory / "ingest.yml").write_text("components: {shop/checkout: checkout}\n")
    named = ("dead-letters", "requeue", unmapped["id"])
    assert "1 would be requeued" in backout(*named, "--dry-run").out
    assert backout(*named, stdin="n\n").status == 1
    ran = backout(*named, stdin="y\n")
    assert (ran.status, ran.out.splitlines()[-1].strip()) == (0, "Requeued 1.")
    again = backout(*named, "--yes")
    assert again.status == 2
    assert "was requeued" in again.err

    foreign.ends[1] = 4
    with running_monitor(settings, stage.directory, environment=foreign.environment()) as monitor:
        await foreign.caught_up()
        assert await monitor.stop() == 0, monitor.log
    (sample,) = await translated(stage)
    assert (sample.component, sample.value, sample.origin) == ("checkout", 7.0, f"{foreign.topic}/1/3")
    requeued = [letter["id"] for letter in _listed(backout, "--since", "1h") if letter["requeued_at"]]
    assert requeued == [unmapped["id"]]


async def test_a_record_of_which_a_part_was_read_is_requeued_as_a_whole_or_not_at_all(
    stage: Stage, settings: Settings, backout: Backout
) -> None:
    """What was read comes again, and says so by its origin; a letter that comes back is one of its own."""
    configure(stage.directory, RULES)
    foreign = await Foreign.create(stage)
    at = time.time() - 5
    good, bad = (
        request(gauge("depth", number(n, at=at)), service_name=name) for n, name in ((1, "a"), (2, "b/"))
    )
    await _set_aside(stage, settings, foreign, [good + bad])
    (letter,) = _listed(backout)
    assert (letter["reason"], letter["item"]) == ("invalid_component", 1)
    refused = backout("dead-letters", "requeue", letter["id"], "--yes")
    assert refused.status == 2
    assert "--whole" in refused.err
    assert backout("dead-letters", "requeue", letter["id"], "--whole", "--yes").status == 0
    assert backout("dead-letters", "requeue", letter["id"], "--whole", "--yes").status == 2
    foreign.ends[1] = 2
    for _ in range(2):
        # The second process finds nothing to do.
        with running_monitor(settings, stage.directory, environment=foreign.environment()) as monitor:
            await monitor.ready()
            await foreign.caught_up()
            assert await monitor.stop() == 0, monitor.log
    samples = await translated(stage)
    assert sorted((each.component, each.origin[-2:]) for each in samples.elements()) == [
        ("a", "/0"),
        ("a", "/1"),
    ]
    again = [(each["offset"], each["item"], bool(each["requeued_at"])) for each in _listed(backout)]
    assert again == [(0, 1, True), (1, 1, False)]


async def test_all_that_can_be_is_requeued_and_the_rest_is_named(stage: Stage, backout: Backout) -> None:
    """A bad sample goes back to the partition, the key and the bytes that it came from."""
    metrics = stage.kafka.topic("metrics")
    await stage.producer.send(metrics, b"not yet", key=b"c", partition=2)
    await stage.producer.send(metrics, b"x" * 1_040_000, key=b"c", partition=2)
    letters = DeadLetters(stage.producer, topic=stage.kafka.topic("dead-letter"), consumer="m", limit=9)
    for record in await stage.records("metrics", 2):
        await letters.put(record, reason="invalid_json", error="no")
    kept = _listed(backout)[1]
    assert (kept["size"], kept["value_bytes"]) == (1_032_192, 1_040_000)
    ran: Ran = backout("dead-letters", "requeue", "--all", "--reason", "invalid_json", "--yes")
    assert ran.status == 1
    assert "0-1 is left: it keeps only the first 1032192 of 1040000 bytes" in ran.err
    *_, back = await stage.records("metrics", 2)
    assert (back.key, back.value) == (b"c", b"not yet")
    assert dict(back.headers) == {
        "backout-requeued-from": stage.kafka.topic("dead-letter").encode() + b"/0-0"
    }
    assert "Nothing to requeue" in backout("dead-letters", "requeue", "--all", "--topic", "none", "--yes").out


async def test_a_record_that_several_consumers_set_aside_goes_back_once(
    stage: Stage, backout: Backout
) -> None:
    triggers = stage.kafka.topic("triggers")
    sent = [b"one", b"two"]
    for value in sent:
        await stage.producer.send(triggers, value, key=b"c", partition=0)

    async def set_aside(which: slice, *consumers: str) -> None:
        records = (await stage.records("triggers", 0))[which]
        for consumer in consumers:
            letters = DeadLetters(
                stage.producer, topic=stage.kafka.topic("dead-letter"), consumer=consumer, limit=9
            )
            for record in records:
                await letters.put(record, reason="invalid_json", error="no")

    async def values() -> list[bytes | None]:
        return [record.value for record in await stage.records("triggers", 0)]

    await set_aside(slice(0, 2), "executor", "analyzer", "monitor-compound")
    everything = ("dead-letters", "requeue", "--all", "--topic", triggers)
    dry = backout(*everything, "--dry-run")
    assert dry.out.splitlines()[-1] == "2 (records of 6 letters) would be requeued."
    assert "for 0-2, 0-4 as well, of the same record" in dry.out
    assert backout(*everything, "--yes").out.splitlines()[-1] == "Requeued 2 (records of 6 letters)."
    assert await values() == sent * 2

    # Every letter is settled, also the one that a consumer which lagged behind sets aside afterwards.
    await set_aside(slice(0, 2), "late")
    listed = _listed(backout)
    by = [letter["requeued_by"] for letter in listed if letter["offset"] < 2]
    assert by == ["0-0", "0-1"] * 4
    shown = json.loads(backout("dead-letters", "show", "0-2", "-o", "json").out)
    assert (shown["requeued_by"], shown["same_record"][:2]) == ("0-0", ["0-0", "0-4"])
    assert "Nothing to requeue" in backout(*everything, "--yes").out
    assert "requeued with letter 0-0" in backout("dead-letters", "requeue", "0-2", "--yes").err

    # What was written back and still cannot be read is a new record, and is written back once again.
    await set_aside(slice(2, 4), "executor", "analyzer", "monitor-compound")
    assert backout(*everything, "--yes").out.splitlines()[-1] == "Requeued 2 (records of 6 letters)."
    assert await values() == sent * 3


@pytest.mark.usefixtures("topics")
async def test_wrong_use_is_refused(backout: Backout) -> None:
    for arguments, words in (
        (("show", "nonsense"), "there is no dead letter 'nonsense'"),
        (("requeue", "0-99", "--yes"), "there is no dead letter '0-99'"),
        (("requeue", "0-1", "--all"), "--all"),
        (("requeue", "0-1", "--reason", "empty"), "go with --all"),
        (("list", "--since", "yesterday"), "--since yesterday"),
    ):
        ran = backout("dead-letters", *arguments)
        assert ran.status == 2
        assert words in ran.err


async def test_without_the_topic_nothing_is_made(backout: Backout) -> None:
    ran = backout("dead-letters", "list")
    assert ran.status == 2
    assert "backout topics init" in ran.err
