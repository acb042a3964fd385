"""``backout topics``, ``metrics publish`` and ``doctor`` against the real servers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import asyncpg
import pytest
from aiokafka.admin import NewTopic

from chassis.embedded.jars import jar_directory, read_lock
from chassis.kafka import Kafka, Record, TopicPartition, read_range
from chassis.kafka_admin import TopicState, inspect_topics
from schemas.topics import TopicId, all_topics
from tests.integration.conftest import Backout
from tests.polling import eventually

CONFIG = Path(__file__).parents[3] / "config"
EXPLAIN = ("triggers", "explain", "--trigger")
GOOD = {"metric": "response_time_p95_ms", "component": "query_api", "value": 2140.0, "time": 1767225600}


async def records_of(kafka: Kafka, topic: str, partitions: int) -> list[Record]:
    """Every record of a topic."""
    found: list[Record] = []
    parts = [TopicPartition(topic, number) for number in range(partitions)]
    async with kafka.reader(*parts) as reader:
        ends = await reader.end_offsets(parts)
    for part, end in ends.items():
        await read_range(kafka, part, 0, end - 1, each=found.append)
    return found


def test_init_then_list(backout: Backout) -> None:
    missing = json.loads(backout("topics", "list", "-o", "json").out)
    first = backout("topics", "init")
    second = backout("topics", "init", "-o", "json")
    listed = backout("topics", "list")

    assert {topic["state"] for topic in missing} == {"missing"}
    assert (first.status, first.out.count(" created")) == (0, len(all_topics()))
    assert {topic["done"] for topic in json.loads(second.out)} == {"unchanged"}
    assert listed.out.splitlines()[0].split() == [
        *("TOPIC", "PARTITIONS", "STATE", "KEY", "PRODUCERS", "CONSUMERS")
    ]
    assert listed.out.count("as defined") == len(all_topics())


def test_init_names_the_topics_that_ingest_misses_and_creates_them_when_asked(
    backout: Backout, kafka: Kafka
) -> None:
    topic = kafka.group("another-system")
    prefix = "BACKOUT_MONITOR__INGEST__OTLP__"
    ingest = {f"{prefix}ENABLED": "true", f"{prefix}TOPIC": topic}
    named = backout("topics", "init", **ingest)
    assert named.status == 0
    assert f"there is no topic '{topic}', which ingest reads" in named.err
    made = backout("topics", "init", "--ingest", **ingest)
    assert (made.status, made.err) == (0, f"created {topic}, which ingest reads, with one partition\n")
    assert backout("topics", "init", **ingest).err == ""


async def test_init_that_would_repartition_is_an_error(backout: Backout, kafka: Kafka) -> None:
    async with kafka.admin() as admin:
        await admin.create_topics([NewTopic(kafka.topic("metrics"), 2, 1)])

    async def is_there() -> bool:
        return any(r.state is TopicState.PARTITIONS_DIFFER for r in await inspect_topics(kafka))

    await eventually(is_there)
    ran = backout("topics", "init")
    assert ran.status == 1
    assert "has 2 partitions, not 4" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.usefixtures("topics")
async def test_lag_of_every_group(backout: Backout, kafka: Kafka) -> None:
    assert "No consumer group" in backout("topics", "lag").out
    topic = kafka.topic("commands")
    async with kafka.producer() as producer:
        for _ in range(3):
            await producer.send(topic, b"x")
    async with kafka.consumer(topic, group=kafka.group("executor")) as consumer:
        while not await consumer.getmany(timeout_ms=500):
            pass
        await consumer.commit({TopicPartition(topic, 0): 1})
        (group,) = json.loads(backout("topics", "lag", "-o", "json").out)
        table = backout("topics", "lag").out.splitlines()

    assert (group["group"], group["state"], group["lag"]) == (kafka.group("executor"), "Stable", 2)
    assert (group["partitions"][0]["committed"], group["partitions"][0]["end"]) == (1, 3)
    assert len(group["members"]) == 1
    assert table[1].split()[-3:] == ["1", "3", "2"]


@pytest.mark.usefixtures("topics")
async def test_publish_sends_the_good_lines_and_names_the_bad_ones(
    backout: Backout, kafka: Kafka, tmp_path: Path
) -> None:
    batch = {"component": "cache", "time": 1767225601, "samples": [{"metric": "hit_ratio", "value": 0.9}] * 2}
    mixed = {"time": 1767225602, "samples": [{"metric": "m", "value": 1, "component": c} for c in "ab"]}
    lines = [
        json.dumps(GOOD),
        "not json",
        "",
        json.dumps({**GOOD, "value": "much"}),
        json.dumps(batch),
        json.dumps({"samples": [GOOD, {"metric": "m"}]}),
        json.dumps(mixed),
        '{"clock": 1767225600}',
    ]
    (tmp_path / "samples.jsonl").write_text("\n".join(lines))

    ran = backout("metrics", "publish", "samples.jsonl")

    assert ran.status == 1
    assert ran.out == "Published 4 records with 5 samples.\n"
    named = [line.partition(": ")[0] for line in ran.err.splitlines()]
    assert named == [*(f"samples.jsonl:{number}" for number in (2, 4, 6, 8)), "backout"]
    assert "sample 1 of the batch" in ran.err
    records = await records_of(kafka, kafka.topic("metrics"), 4)
    assert sorted(record.key or b"" for record in records) == [b"a", b"b", b"cache", b"query_api"]
    assert json.dumps(GOOD).encode() in [record.value for record in records]


@pytest.mark.usefixtures("topics")
def test_publish_reads_standard_input(backout: Backout) -> None:
    ran = backout("metrics", "publish", "-", stdin="\n".join([json.dumps(GOOD)] * 2_500))
    assert (ran.status, ran.out) == (0, "Published 2500 records with 2500 samples.\n")


def test_publish_wants_a_file_and_a_topic(backout: Backout, tmp_path: Path) -> None:
    absent = backout("metrics", "publish", "absent.jsonl")
    assert (absent.status, "cannot read absent.jsonl" in absent.err) == (2, True)
    (tmp_path / "one.jsonl").write_text(json.dumps(GOOD))
    no_topic = backout("metrics", "publish", "one.jsonl")
    assert (no_topic.status, "backout topics init" in no_topic.err) == (2, True)


def findings(out: str) -> dict[str, dict[str, str]]:
    """The doctor's findings by check."""
    return {item["check"]: item for item in json.loads(out)}


def test_doctor_finds_missing_topics_and_is_well_after_init(backout: Backout) -> None:
    shipped = {
        "BACKOUT_CONFIG_DIR": str(CONFIG),
        "BACKOUT_SETTINGS_FILE": str(CONFIG.parent / "backout.toml"),
    }
    before = backout("doctor", "-o", "json", **shipped)
    backout("topics", "init")
    after = backout("doctor", **shipped)

    assert before.status == 1
    assert {name for name, item in findings(before.out).items() if item["status"] == "fail"} == {"topics"}
    assert "backout topics init" in findings(before.out)["topics"]["mend"]
    assert after.status == 0, after.out
    assert not [line for line in after.out.splitlines() if line.startswith("fail")]


async def test_doctor_tells_new_tables_from_those_of_another_version(backout: Backout, database: str) -> None:
    new = findings(backout("doctor", "-o", "json").out)["tables of the notifier"]
    connection = await asyncpg.connect(database)
    await connection.execute(
        "CREATE SCHEMA notifier; CREATE TABLE notifier.migrations (name text, checksum text);"
        "INSERT INTO notifier.migrations VALUES ('9999_of_the_future.sql', 'x')"
    )
    await connection.close()
    other = findings(backout("doctor", "-o", "json").out)["tables of the notifier"]

    assert (new["status"], new["found"]) == ("warn", "not made yet")
    assert other["status"] == "fail"
    assert "9999_of_the_future.sql" in other["found"]


@pytest.mark.parametrize(
    ("file", "text", "check", "place"),
    [
        ("rollback/triggers.yml", "triggers:\n  - nmae: x\n", "triggers", "triggers.yml:2"),
        ("breakers.yml", "breakers:\n  open_for: 5\n", "triggers", "breakers.yml:2"),
        ("playbooks/cache.yml", "playbook: cache\nsteps: 3\n", "playbooks", "cache.yml:1"),
        ("receivers.yml", "receivers:\n  - x\n", "receivers", "receivers.yml:"),
    ],
)
def test_doctor_reads_the_files_as_their_services_do(
    backout: Backout, tmp_path: Path, file: str, text: str, check: str, place: str
) -> None:
    shutil.copytree(CONFIG, tmp_path / "config")
    (tmp_path / "config" / file).write_text(text)
    found = findings(backout("doctor", "-o", "json").out)[check]
    assert found["status"] == "fail"
    assert place in found["mend"]


def test_doctor_names_servers_that_do_not_answer(backout: Backout, unused_tcp_port: int) -> None:
    ran = backout(
        "doctor",
        "-o",
        "json",
        BACKOUT_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{unused_tcp_port}",
        BACKOUT_POSTGRES__DSN=f"postgresql://nobody@127.0.0.1:{unused_tcp_port}/none",
    )
    assert ran.status == 1
    assert {name for name, item in findings(ran.out).items() if item["status"] == "fail"} == {
        "Kafka",
        "Postgres",
        "configuration",
    }
    assert "BACKOUT_POSTGRES__DSN" in findings(ran.out)["Postgres"]["mend"]


def test_doctor_finds_a_wrong_setting_and_a_wrong_file(backout: Backout, tmp_path: Path) -> None:
    wrong = backout("doctor", "-o", "json", BACKOUT_KAFKA__SESSION_TIMEOUT_MS="soon")
    assert wrong.status == 1
    assert "BACKOUT_KAFKA__SESSION_TIMEOUT_MS" in findings(wrong.out)["settings"]["mend"]

    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "targets.yml").write_text("targets:\n  a: 1\n  a: 2\n")
    file = findings(backout("doctor", "-o", "json").out)["YAML files"]
    assert file["status"] == "fail"
    assert "targets.yml:3" in file["mend"]


def test_doctor_finds_missing_and_damaged_packages(backout: Backout, tmp_path: Path) -> None:
    # Nothing is given here, so what the embedded servers need is checked.
    given = {"BACKOUT_KAFKA__BOOTSTRAP_SERVERS": "", "BACKOUT_CACHE_DIR": str(tmp_path)}
    fresh = findings(backout("doctor", "-o", "json", **given).out)
    jar = jar_directory(tmp_path) / read_lock()[0].path
    jar.parent.mkdir(parents=True)
    jar.write_bytes(b"damaged")
    damaged = findings(backout("doctor", "-o", "json", **given).out)

    assert fresh["Java"]["status"] == "ok"
    assert fresh["Kafka packages"]["status"] == "warn"
    assert damaged["Kafka packages"]["status"] == "fail"
    assert f"rm {jar}" in damaged["Kafka packages"]["mend"]


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (("pause",), "commands"),
        (("rollback", "--component", "pdf_extraction", "--reason", "x", "--follow"), "commands"),
        (("release", "announce", "--component", "api"), "metrics"),
        (("report", "--data-corruption", "--component", "api", "--reason", "x"), "reports"),
        (
            ("triggers", "explain", "--trigger", "error_rate", "--component", "api", "--since", "5m"),
            "metrics",
        ),
        (("triggers", "explain", "--trigger", "data_corruption", "--since", "5m"), "triggers"),
        (
            ("triggers", "backtest", "--rules", str(CONFIG / "rollback/triggers.yml"), "--from-topic"),
            "metrics",
        ),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, tuple) else value,
)
def test_a_topic_that_is_not_there_is_told_at_once(
    arguments: tuple[str, ...], missing: TopicId, backout: Backout, kafka: Kafka
) -> None:
    """Also in a namespace; a client would wait for it, and tell of that a hundred times a second."""
    ran = backout(*arguments, BACKOUT_CONFIG_DIR=str(CONFIG))
    assert ran.status == 2
    assert kafka.topic(missing) in ran.err
    assert ran.err.startswith("backout: there is no topic")
    assert ran.err.count("\n") == 1
