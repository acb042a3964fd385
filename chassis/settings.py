"""Settings: environment variables over ``backout.toml`` over defaults.

Every setting is ``BACKOUT_<SECTION>__<NAME>`` in the environment, or ``name`` in
``[section]`` of ``backout.toml`` (``BACKOUT_SETTINGS_FILE`` names another file). Secrets are
``SecretStr`` and may come from a file: ``BACKOUT_<SECTION>__<NAME>_FILE``, in place of the variable.

A wrong setting is a ConfigError that names it; it is never a traceback.
"""

from __future__ import annotations

import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from chassis.embedded.discovery import read_run_file
from chassis.errors import ConfigError, ConfigErrors
from chassis.setting_names import meant

ENV_PREFIX = "BACKOUT_"
SERVICES = ("monitor", "executor", "notifier", "analyzer")


_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\])(?::(?P<port>[0-9]{1,5}))?")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class KafkaSettings(Section):
    """Where the log is. Without ``bootstrap_servers``, ``backout up`` starts an embedded broker."""

    bootstrap_servers: str | None = None
    namespace: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=80,
        description="Prefix of every topic, group and transactional id, to share one cluster.",
    )
    session_timeout_ms: int = Field(default=10_000, ge=1_000)
    static_membership: bool = Field(
        default=True, description="Fast restarts: the member keeps its place in the group."
    )
    dead_letters_in_a_row: int = Field(
        default=100, ge=1, description="More unreadable records in a row than this stop the consumer."
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, servers: str | None) -> str | None:
        for server in [] if servers is None else servers.split(","):
            match = _SERVER.fullmatch(server.strip())
            if match is None or not 1 <= int(match["port"] or 1) <= 65_535:
                raise ValueError(f"{server.strip()!r} is no host:port, and several are separated by commas")
        return servers


class PostgresSettings(Section):
    """Where the journal is: a database of its own, never one that a playbook restores."""

    dsn: SecretStr | None = None
    pool_size: int = Field(default=5, ge=2, le=100)
    command_timeout_s: float = Field(default=30.0, gt=0)
    retention_days: float = Field(
        default=45.0,
        ge=1,
        le=36_500,
        description="Rows that only repetitions need are deleted after so many days. Longer than topics hold "
        "their records; what a topic still holds is never forgotten.",
    )


class HttpSettings(Section):
    """The health and metrics endpoint of each service. Port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65_535)
    port_file: Path | None = Field(
        default=None, description="Where the port that was taken is written, once it listens."
    )


_ComponentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]


class OtlpIngestSettings(Section):
    """OpenTelemetry's metrics, as the Collector's Kafka exporter writes them."""

    enabled: bool = False
    topic: str = Field(default="otlp_metrics", min_length=1, max_length=249)
    encoding: Literal["protobuf", "json"] = "protobuf"
    component_attribute: str = Field(default="service.name", min_length=1)
    default_component: _ComponentName | None = Field(
        default=None, description="For what names no component; otherwise it is a dead letter."
    )
    resource_labels: list[str] = Field(
        default_factory=lambda: ["service.instance.id", "service.version"],
        description="The resource's attributes that become labels of each sample.",
    )


class PrometheusIngestSettings(Section):
    """Prometheus' samples, as Telefónica's prometheus-kafka-adapter writes them (JSON)."""

    enabled: bool = False
    topic: str = Field(default="metrics", min_length=1, max_length=249)
    component_label: str = Field(default="job", min_length=1)
    default_component: _ComponentName | None = None


class IngestSettings(Section):
    """Foreign topics that the monitor translates onto the metrics topic. Names and units are in
    ``ingest.yml`` of the configuration directory."""

    otlp: OtlpIngestSettings = OtlpIngestSettings()
    prometheus: PrometheusIngestSettings = PrometheusIngestSettings()
    fetch_max_records: int = Field(
        default=200, ge=1, description="Records of a foreign topic that one transaction may hold."
    )

    @property
    def topics(self) -> tuple[str, ...]:
        """Those of the sources that are switched on, by their full names."""
        return tuple(source.topic for source in (self.otlp, self.prometheus) if source.enabled)


class MonitorSettings(Section):
    allowed_lateness_s: float = Field(default=2.0, ge=0)
    silence_s: float = Field(default=5.0, gt=0, description="Clock records after this much silence, s.")
    heartbeat_s: float = Field(
        default=5.0, gt=0, description="How often it is told that each partition is evaluated, s."
    )
    fetch_max_records: int = Field(
        default=100_000, ge=1, description="Records evaluated at once, at most, where there is a backlog."
    )
    rules: list[Path] = Field(
        default_factory=list,
        description="Trigger files; empty: the files of config/rollback that hold triggers.",
    )
    ingest: IngestSettings = IngestSettings()
    compound_lateness_s: float = Field(
        default=10.0,
        ge=0,
        description="How long a compound trigger waits for announcements of other components, s.",
    )


class ExecutorSettings(Section):
    lease_s: float = Field(default=10.0, gt=0)
    trigger_max_age_s: float = Field(default=300.0, gt=0)
    command_max_age_s: float = Field(default=600.0, gt=0)
    cool_down_s: float = Field(default=300.0, ge=0)
    stop_grace_s: float = Field(
        default=15.0,
        ge=0,
        le=3_600,
        description="A stop waits so long for the step that is under way, s. Whoever kills what does not "
        "stop has to wait for 10 s more at least.",
    )
    targets: dict[str, str] = Field(
        default_factory=dict, description="Base addresses that playbooks name as {target.<name>}."
    )
    allowed_commands: list[list[str]] = Field(
        default_factory=list, description="argv prefixes that the process action may run."
    )


class SlackSettings(Section):
    token: SecretStr | None = None
    base_url: str = "https://slack.com/api/"
    timeout_s: float = Field(default=10.0, gt=0)


class SmtpSettings(Section):
    host: str | None = None
    port: int = Field(default=25, ge=1, le=65_535)
    sender: str = "backout@localhost"
    username: str | None = None
    password: SecretStr | None = None
    starttls: bool = False
    timeout_s: float = Field(default=10.0, gt=0)


class StatuspageSettings(Section):
    page_id: str | None = None
    api_key: SecretStr | None = None
    base_url: str = "https://api.statuspage.io/v1"
    min_interval_s: float = Field(default=1.0, ge=0, description="The API allows one request a second.")
    timeout_s: float = Field(default=10.0, gt=0)


class NotifierSettings(Section):
    slack: SlackSettings = SlackSettings()
    smtp: SmtpSettings = SmtpSettings()
    statuspage: StatuspageSettings = StatuspageSettings()
    max_attempts: int = Field(default=8, ge=1)
    heartbeat_timeout_s: float = Field(
        default=45.0, gt=0, description="Operators are told of a partition not evaluated for so long, s."
    )
    max_event_age_s: float = Field(
        default=86_400.0, gt=0, description="What is older is recorded and not announced to people."
    )


class AnalyzerSettings(Section):
    close_after_s: float = Field(
        default=300.0, ge=0, description="Unsettled deliveries hold an incident open no longer than this."
    )
    look_back_s: float = Field(default=900.0, ge=0, description="Metrics kept from before an incident, s.")
    settle_s: float = Field(
        default=10.0, ge=0, description="Metrics kept from after the last closing condition, s."
    )
    reports_dir: Path | None = None


class TracingSettings(Section):
    """Trace contexts from metric records to trigger events; and, with a receiver, spans of the monitor."""

    enabled: bool = Field(
        default=False,
        description="Read the records' traceparent headers, and have trigger events carry them.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^\s/]+(/\S*)?$",
        description="Where spans are sent by OTLP over HTTP (http://host:4318/v1/traces).",
    )
    export_timeout_s: float = Field(default=10.0, gt=0)


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        validate_default=True,
        nested_model_default_partial_update=True,
    )

    config_dir: Path = Path("config")
    state_dir: Path = Path(".backout")
    cache_dir: Path = Path("~/.cache/backout")
    instance: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]+$",
        max_length=100,
        description="Unique among the instances of one service: its place in the consumer group. Of two "
        "processes with one name the first ends.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    kafka: KafkaSettings = KafkaSettings()
    postgres: PostgresSettings = PostgresSettings()
    http: HttpSettings = HttpSettings()
    tracing: TracingSettings = TracingSettings()
    monitor: MonitorSettings = MonitorSettings()
    executor: ExecutorSettings = ExecutorSettings()
    notifier: NotifierSettings = NotifierSettings()
    analyzer: AnalyzerSettings = AnalyzerSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        environment = _EnvironmentWithSecretFiles(settings_cls)
        return (init_settings, environment, InitSettingsSource(settings_cls, _read_toml()))

    @property
    def bootstrap_servers(self) -> str:
        """The brokers; raises ConfigError when none is set."""
        if self.kafka.bootstrap_servers is None:
            raise ConfigError(
                "no Kafka is set",
                place="BACKOUT_KAFKA__BOOTSTRAP_SERVERS",
                mend="Set it, or run `backout up` here, which starts one",
            )
        return self.kafka.bootstrap_servers

    @property
    def postgres_dsn(self) -> str:
        """The database's address; raises ConfigError when none is set."""
        if self.postgres.dsn is None:
            raise ConfigError(
                "no Postgres is set",
                place="BACKOUT_POSTGRES__DSN",
                mend="Set it, or run `backout up` here, which starts one",
            )
        return self.postgres.dsn.get_secret_value()


def without_settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for a program that is to have none of our settings, and so no secret.

    A service that is started so still reads a ``backout.toml`` of its directory; NO_SETTINGS_FILE
    keeps it from that.
    """
    return {name: value for name, value in environ.items() if not name.upper().startswith(ENV_PREFIX)}


NO_SETTINGS_FILE = {f"{ENV_PREFIX}SETTINGS_FILE": os.devnull}


def _read_toml() -> dict[str, Any]:
    """What the settings file says; one that nobody named may be absent."""
    variable = f"{ENV_PREFIX}SETTINGS_FILE"
    named = os.environ.get(variable)
    path = Path(named or "backout.toml")
    if not path.exists():
        if not named:
            return {}
        raise ConfigError(
            f"{path} is not there", place=variable, mend="Name a file that is, or do not set the variable"
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(error), place=str(path), mend="Write it as TOML 1.0") from error
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", place=str(path), mend="Name a readable file"
        ) from error


class _EnvironmentWithSecretFiles(EnvSettingsSource):
    """The environment, in which ``X_FILE`` stands for an ``X`` that is read from that file."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        given = super()._load_env_vars()
        variables: dict[str, str | None] = {}
        for name, value in given.items():
            upper = name.upper()
            if value is None or not _is_secret_file(upper):
                variables[name] = value
                continue
            plain = name[: -len("_FILE")]
            if given.get(plain) is not None:
                raise ConfigError(
                    f"{plain.upper()} is set as well, and only one of them can hold",
                    place=upper,
                    mend="Unset one of the two",
                )
            variables[plain] = _secret_in(value, place=upper)
        return variables


def _secret_in(path: str, *, place: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read {path}: {error}", place=place, mend="Name a readable text file"
        ) from error


def _is_secret_file(name: str) -> bool:
    return name.startswith(ENV_PREFIX) and name.endswith("_FILE") and name not in _PLAIN_FILE_SETTINGS


_PLAIN_FILE_SETTINGS = frozenset({f"{ENV_PREFIX}SETTINGS_FILE", f"{ENV_PREFIX}HTTP__PORT_FILE"})
# Read by other parts, or by tests; they are not settings of a service.
_OTHER_VARIABLES = frozenset(f"{ENV_PREFIX}{name}" for name in ("SETTINGS_FILE", "FAILPOINTS", "DEBUG"))


def _unknown_variables(environ: Mapping[str, str]) -> list[ConfigError]:
    """A misspelt variable is an error, not a default that nobody asked for."""
    known = {f"{ENV_PREFIX}{name}".upper() for name in Settings.model_fields}
    errors = []
    for name in environ:
        if not name.startswith(ENV_PREFIX) or name in _OTHER_VARIABLES:
            continue
        section = name.split("__", 1)[0]
        if section not in known:
            errors.append(_no_such_setting(name, mend=f"Settings are {', '.join(sorted(known))}"))
    return errors


def _no_such_setting(variable: str, mend: str) -> ConfigError:
    near = meant(variable, Settings, ENV_PREFIX)
    return ConfigError(
        "there is no such setting", place=variable, mend=f"Did you mean {near}?" if near else mend
    )


def load_settings(*, discover: bool = True, **overrides: Any) -> Settings:
    """Read the settings of this process.

    With ``discover``, a ``backout up`` that runs in the state directory stands in for the Kafka
    and the Postgres that are not set. Raises ConfigErrors that names every wrong setting by its variable.
    """
    unknown = _unknown_variables(os.environ)
    if unknown:
        raise ConfigErrors(unknown)
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        raise ConfigErrors(_as_config_errors(error)) from None
    except SettingsError as error:
        raise ConfigErrors([_as_json_error(error)]) from None
    return _with_running(settings) if discover else settings


def _with_running(settings: Settings) -> Settings:
    running = read_run_file(settings.state_dir)
    if running is None:
        return settings
    kafka, postgres = settings.kafka, settings.postgres
    if kafka.bootstrap_servers is None:
        kafka = kafka.model_copy(update={"bootstrap_servers": running.bootstrap_servers})
    if postgres.dsn is None:
        postgres = postgres.model_copy(update={"dsn": SecretStr(running.dsn)})
    return settings.model_copy(update={"kafka": kafka, "postgres": postgres})


def _as_json_error(error: SettingsError) -> ConfigError:
    """A list or a mapping in the environment is JSON; pydantic tells the text, not the variable."""
    cause = error.__cause__
    text = cause.doc if isinstance(cause, json.JSONDecodeError) else None
    names = [name for name, value in os.environ.items() if name.startswith(ENV_PREFIX) and value == text]
    place = ", ".join(names) or f"{ENV_PREFIX}*"
    return ConfigError(f"{cause or error}", place=place, mend='Write it as JSON, such as ["a"] or {"a": "b"}')


def _as_config_errors(error: ValidationError) -> list[ConfigError]:
    found = []
    for item in error.errors(include_url=False, include_input=False):
        variable = ENV_PREFIX + "__".join(str(part).upper() for part in item["loc"])
        mend = "Mend it there or in backout.toml"
        is_unknown = item["type"] == "extra_forbidden"
        found.append(
            _no_such_setting(variable, mend)
            if is_unknown
            else ConfigError(item["msg"], place=variable, mend=mend)
        )
    return found
