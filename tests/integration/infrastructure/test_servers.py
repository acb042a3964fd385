"""The embedded Kafka and Postgres: start, stop, crash, and start again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from chassis.embedded.errors import AlreadyRunning, EmbeddedError
from chassis.embedded.infrastructure import infrastructure
from chassis.embedded.kafka import EmbeddedKafka
from chassis.embedded.ports import HOST
from chassis.embedded.postgres import EmbeddedPostgres
from chassis.embedded.process_group import ProcessGroup
from chassis.embedded.readiness import kafka_answers
from chassis.kafka import Kafka, TopicPartition
from chassis.kafka_admin import ensure_topics
from chassis.settings import KafkaSettings, load_settings
from tests.conftest import CACHE_DIR
from tests.polling import alive, poll_until


def processes_of(state_dir: Path) -> list[int]:
    """The live processes that name ``state_dir`` on their command line: the JVM, the postmaster."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        argv = " ".join(process.info["cmdline"] or ())
        if str(state_dir) in argv and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["pid"])
    return found


def _run_servers(state_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chassis.embedded", str(state_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _addresses(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    return dict(json.loads(process.stdout.readline()))


async def test_both_servers_answer_and_end_with_standard_input(tmp_path: Path) -> None:
    with _run_servers(tmp_path) as process:
        addresses = _addresses(process)
        await Kafka(addresses["bootstrap_servers"], KafkaSettings(), client_id="test").wait_until_reachable(5)
        connection = await asyncpg.connect(addresses["dsn"])
        assert await connection.fetchval("SELECT current_database()") == "backout"
        await connection.close()
        assert len(processes_of(tmp_path)) >= 2
        process.communicate("")
    assert process.returncode == 0
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left_however_the_parent_ends(tmp_path: Path, how: signal.Signals) -> None:
    with _run_servers(tmp_path) as process:
        _addresses(process)
        group = json.loads((tmp_path / "processes.json").read_text())
        pids = [item["pid"] for item in group["processes"]]
        process.send_signal(how)
        poll_until(lambda: not any(alive(pid) for pid in pids), timeout_s=30)
    poll_until(lambda: processes_of(tmp_path) == [])


def test_killed_in_the_middle_of_its_start_leaves_no_process(tmp_path: Path) -> None:
    with _run_servers(tmp_path) as process:
        poll_until(lambda: len(processes_of(tmp_path)) > 1, what="the first server")
        process.kill()
    poll_until(lambda: processes_of(tmp_path) == [], timeout_s=30)


def test_the_next_start_clears_what_a_killed_parent_and_watchdog_left(tmp_path: Path) -> None:
    with _run_servers(tmp_path) as process:
        _addresses(process)
        watchdog, *servers = [
            item["pid"] for item in json.loads((tmp_path / "processes.json").read_text())["processes"]
        ]
        os.kill(watchdog, signal.SIGKILL)
        process.kill()
    assert all(alive(pid) for pid in servers)

    with _run_servers(tmp_path) as again:
        assert set(_addresses(again)) == {"bootstrap_servers", "dsn"}
        assert not any(alive(pid) for pid in servers)
        again.communicate("")
    assert processes_of(tmp_path) == []


async def test_postgres_keeps_its_data_and_its_port_over_a_kill(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        dsn = postgres.create_database("kept")
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (42)")
        await connection.close()
        assert postgres.process is not None
        os.kill(postgres.process.pid, signal.SIGKILL)

    async with EmbeddedPostgres(tmp_path / "postgres") as again:
        assert again.dsn("kept") == dsn
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT x FROM t") == 42
        await connection.close()


async def test_postgres_asks_for_its_password(embedded_postgres: EmbeddedPostgres) -> None:
    address = embedded_postgres.dsn().rpartition("@")[2]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://backout:guess@{address}")


async def test_kafka_keeps_its_records_and_its_port_over_a_kill(tmp_path: Path) -> None:
    # A broker takes its own place again once its killed self's session has ended: 9 s by default.
    properties = {"broker.session.timeout.ms": "1500", "broker.heartbeat.interval.ms": "300"}
    async with EmbeddedKafka(tmp_path / "kafka", cache_dir=CACHE_DIR, properties=properties) as broker:
        address = broker.bootstrap_servers
        kafka = Kafka(address, KafkaSettings(), client_id="test")
        await ensure_topics(kafka)
        async with kafka.producer() as producer:
            await producer.send(kafka.topic("commands"), b"kept")
        assert broker.process is not None
        os.kill(broker.process.pid, signal.SIGKILL)

    async with EmbeddedKafka(tmp_path / "kafka", cache_dir=CACHE_DIR, properties=properties) as again:
        assert again.bootstrap_servers == address
        part = TopicPartition(kafka.topic("commands"), 0)
        async with kafka.reader(part) as reader:
            assert await reader.end_offsets([part]) == {part: 1}


async def test_kafka_makes_no_topic_that_nobody_created(kafka_bootstrap: str, namespace: str) -> None:
    kafka = Kafka(kafka_bootstrap, KafkaSettings(), client_id="test")
    async with kafka.admin() as admin:
        described = await admin.describe_topics([f"{namespace}surprise"])
    assert described[0]["error_code"] != 0


def test_a_second_owner_of_a_directory_is_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as postgres:
        with pytest.raises(AlreadyRunning), EmbeddedPostgres(tmp_path):
            pytest.fail("two servers on one directory")
        assert postgres.process is not None
        assert postgres.process.exit_status() is None


def test_copies_run_side_by_side(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "a") as first, EmbeddedPostgres(tmp_path / "b") as second:
        assert first.dsn() != second.dsn()
        first.create_database("only_in_a")
        second.create_database("only_in_a")


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with pytest.raises(EmbeddedError, match="no_such_setting"), EmbeddedPostgres(tmp_path):
        pytest.fail("started with a broken configuration")
    assert processes_of(tmp_path) == []


def test_a_kafka_that_cannot_start_says_why(tmp_path: Path) -> None:
    broken = EmbeddedKafka(tmp_path, cache_dir=CACHE_DIR, properties={"num.io.threads": "many"})
    with pytest.raises(EmbeddedError, match=r"num\.io\.threads"), broken:
        pytest.fail("started with a broken configuration")
    assert processes_of(tmp_path) == []


def test_what_the_settings_give_is_not_started(
    tmp_path: Path, kafka_bootstrap: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKOUT_KAFKA__BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("BACKOUT_POSTGRES__DSN", database)
    settings = load_settings(discover=False, state_dir=tmp_path)

    with ProcessGroup(tmp_path) as group, infrastructure(settings, group) as servers:
        assert group.children == ()

    assert (servers.bootstrap_servers, servers.dsn, servers.embedded) == (kafka_bootstrap, database, ())


def test_an_answer_that_is_not_kafkas_is_not_readiness(embedded_postgres: EmbeddedPostgres) -> None:
    port = int(embedded_postgres.dsn().rpartition(":")[2].partition("/")[0])
    assert not kafka_answers(HOST, port)


def test_java_options_of_the_environment_do_not_reach_the_broker(
    embedded_kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JDK_JAVA_OPTIONS", "-XX:NoSuchOption")
    with EmbeddedKafka(tmp_path, cache_dir=CACHE_DIR) as other:
        assert other.bootstrap_servers != embedded_kafka.bootstrap_servers
