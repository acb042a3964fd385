"""``backout up``, ``down`` and ``run``: the whole thing on one machine, or one service of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Any

import structlog
import typer

from chassis.embedded.discovery import RunInfo, remove_run_file, write_run_file
from chassis.embedded.infrastructure import Infrastructure, infrastructure
from chassis.embedded.process_group import ProcessGroup, clear_leftovers, owner_of
from chassis.embedded.process_identity import ProcessIdentity
from chassis.errors import BackoutError, UsageError
from chassis.kafka import Kafka
from chassis.kafka_admin import ensure_topics
from chassis.process import run_to_its_end
from chassis.settings import SERVICES, Settings, load_settings
from chassis.supervisor import ProcessSpec, Supervisor
from chassis.telemetry import configure_logging, logs_are_json
from cli.foreign_topics import create_foreign_topics

_READY_TIMEOUT_S = 90.0
_DOWN_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 25.0
_AFTER_GRACE_S = 10.0
"""After the executor's grace: for what else there is to end, to tell, and to give back."""
log = structlog.get_logger(__name__)


def up(
    only: Annotated[
        str | None, typer.Option(help="Only these services, separated by commas; none: servers alone.")
    ] = None,
    restart: Annotated[bool, typer.Option(help="Start a service that ends again.")] = False,
) -> None:
    """Start what the settings do not give (Kafka, Postgres), then the services; stay until interrupted.

    The exit status is that of a service that ended of itself.
    """
    services = chosen_services(only)
    settings = load_settings(discover=False)
    settings = settings.model_copy(update={"state_dir": settings.state_dir.absolute()})
    with _stop_event() as stop, ExitStack() as stack:
        group = stack.enter_context(ProcessGroup(settings.state_dir))
        supervisor = Supervisor(group, settings.state_dir / "logs", sys.stdout)
        servers = stack.enter_context(infrastructure(settings, group, on_progress=_shown_by(supervisor)))
        stack.callback(remove_run_file, settings.state_dir)
        stack.callback(supervisor.stop)
        kafka = Kafka.of(_with_servers(settings, servers), "cli")
        asyncio.run(ensure_topics(kafka))
        if "kafka" in servers.embedded:
            for topic in asyncio.run(create_foreign_topics(kafka, settings.monitor.ingest)):
                supervisor.say("up", f"created the topic {topic}, which ingest reads")
        for service in services:
            supervisor.start(service_spec(service, settings, servers))
        _write_run_file(settings, servers, supervisor)
        if supervisor.wait_until_ready(timeout_s=_READY_TIMEOUT_S, stop=stop.is_set):
            _write_run_file(settings, servers, supervisor)
            running = ", ".join(services) or "no services"
            supervisor.say("up", f"ready: {running}; Kafka at {servers.bootstrap_servers}")
        supervisor.watch(stop, restart=restart)
        supervisor.say("up", "stopping")


def down() -> None:
    """Stop what runs in the state directory (a `backout up`, a demo), and clear what a killed one left."""
    settings = load_settings(discover=False)
    # Not the run file's owner: a demo writes none, and an `up` only once its servers are there.
    owner = owner_of(settings.state_dir)
    running = owner is not None and owner.alive
    if owner is not None and running:
        with contextlib.suppress(ProcessLookupError):  # it may end by itself at this moment
            os.kill(owner.pid, signal.SIGTERM)
        deadline = time.monotonic() + _DOWN_TIMEOUT_S + settings.executor.stop_grace_s
        while owner.alive:
            if time.monotonic() > deadline:
                raise BackoutError(
                    f"the running process {owner.pid} does not stop; "
                    f"kill it, and run `backout down` again to clear what it leaves"
                )
            time.sleep(0.1)
    cleared = clear_leftovers(settings.state_dir)
    remove_run_file(settings.state_dir)
    if running:
        typer.echo(f"Stopped the backout of {settings.state_dir}.")
    elif cleared:
        typer.echo(f"Cleared what a killed run had left: {', '.join(map(str, cleared))}.")
    else:
        typer.echo(f"Nothing was running in {settings.state_dir}.")


def run(service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")]) -> None:
    """Run one service in this process until SIGTERM or SIGINT (what a container calls)."""
    entry = _entry_point(service)
    settings = load_settings()
    configure_logging(settings, service)
    try:
        run_to_its_end(entry(settings))
    except BackoutError as error:
        if not logs_are_json(settings) or os.environ.get("BACKOUT_DEBUG") == "1":
            raise
        # A program that reads the log must find the reason there, too.
        log.error("service stopped", error=str(error), exit_status=error.exit_code)  # noqa: TRY400 - it says how to mend it
        raise typer.Exit(error.exit_code) from error
    except Exception as error:
        log.exception("service stopped by an unexpected error", service=service)
        raise typer.Exit(1) from error


def chosen_services(only: str | None) -> tuple[str, ...]:
    """The services that ``--only`` names, in the order of their start; all of them without it.

    Raises UsageError for a name that is none.
    """
    if only is None:
        return SERVICES
    wanted = {name.strip() for name in only.split(",")} - {"", "none"}
    unknown = sorted(wanted - set(SERVICES))
    if unknown:
        raise UsageError(
            f"--only: there is no service {', '.join(unknown)}. Name some of {', '.join(SERVICES)}"
        )
    return tuple(name for name in SERVICES if name in wanted)


def service_spec(service: str, settings: Settings, servers: Infrastructure) -> ProcessSpec:
    """How ``up`` runs one service: as a container would, with the servers in its environment."""
    port_file = settings.state_dir / "services" / f"{service}.port"
    env = {
        "BACKOUT_LOG_FORMAT": "console",
        **os.environ,
        "BACKOUT_STATE_DIR": str(settings.state_dir),
        "BACKOUT_HTTP__PORT": "0",
        "BACKOUT_HTTP__PORT_FILE": str(port_file),
    }
    if "kafka" in servers.embedded:
        env["BACKOUT_KAFKA__BOOTSTRAP_SERVERS"] = servers.bootstrap_servers
    if "postgres" in servers.embedded:
        env["BACKOUT_POSTGRES__DSN"] = servers.dsn
    # -P: a directory of the user's that is called like one of our packages must not be taken for it.
    argv = (sys.executable, "-P", "-m", "cli.main", "run", service)
    stop_timeout_s = max(_STOP_TIMEOUT_S, settings.executor.stop_grace_s + _AFTER_GRACE_S)
    return ProcessSpec(service, argv, env, port_file, stop_timeout_s)


def _entry_point(service: str) -> Callable[[Settings], Coroutine[Any, Any, None]]:
    """A service's ``run``; only the one that is run is imported."""
    if service == "monitor":
        from services.monitor.main import run as monitor

        return monitor
    if service == "executor":
        from services.executor.main import run as executor

        return executor
    if service == "notifier":
        from services.notifier.main import run as notifier

        return notifier
    if service == "analyzer":
        from services.analyzer.main import run as analyzer

        return analyzer
    raise UsageError(f"there is no service {service!r}. Name one of {', '.join(SERVICES)}")


@contextmanager
def _stop_event() -> Iterator[threading.Event]:
    """Set by SIGTERM and SIGINT; a second signal interrupts at once."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shown_by(supervisor: Supervisor) -> Callable[[str, int, int], None]:
    """Progress as lines: the ends of each stage, and the quarters between."""
    shown: dict[str, int] = {}

    def on_progress(stage: str, done: int, total: int) -> None:
        quarter = 4 * done // total if total else 4
        if shown.get(stage) == quarter:
            return
        shown[stage] = quarter
        supervisor.say("up", f"{stage} {done}/{total}")

    return on_progress


def _with_servers(settings: Settings, servers: Infrastructure) -> Settings:
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": servers.bootstrap_servers})
    return settings.model_copy(update={"kafka": kafka})


def _write_run_file(settings: Settings, servers: Infrastructure, supervisor: Supervisor) -> None:
    info = RunInfo(ProcessIdentity.own(), servers.bootstrap_servers, servers.dsn, supervisor.ports())
    write_run_file(settings.state_dir, info)
