"""Where settings come from, and that a wrong one is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from chassis.errors import ConfigError, ConfigErrors
from chassis.settings import SERVICES, Settings, load_settings
from schemas.topics import all_topics


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file but those of the test."""
    for name in [name for name in os.environ if name.upper().startswith("BACKOUT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def load() -> Settings:
    return load_settings(discover=False)


def test_defaults() -> None:
    settings = load()
    assert settings.config_dir == Path("config")
    assert settings.kafka.bootstrap_servers is None
    assert settings.monitor.allowed_lateness_s == 2.0
    assert SERVICES == ("monitor", "executor", "notifier", "analyzer")


def test_rows_that_repetitions_need_are_kept_for_longer_than_any_topic_holds_its_records() -> None:
    day_ms = 86_400_000
    # A record goes with its segment, which takes in others for as long as this unless it is full.
    segment_ms = 7 * day_ms
    retained = [int(topic.config.get("retention.ms", "0")) for topic in all_topics().values()]
    assert load().postgres.retention_days * day_ms > max(retained) + segment_ms


def test_the_environment_goes_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "backout.toml").write_text(
        'log_level = "warning"\n[kafka]\nnamespace = "file."\nsession_timeout_ms = 6000\n'
    )
    monkeypatch.setenv("BACKOUT_KAFKA__NAMESPACE", "environment.")
    settings = load()
    assert settings.kafka.namespace == "environment."
    assert settings.kafka.session_timeout_ms == 6_000
    assert settings.log_level == "warning"


def test_another_file_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('[executor.targets]\ndocrag = "http://127.0.0.1:8090"\n')
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", str(tmp_path / "other.toml"))
    assert load().executor.targets == {"docrag": "http://127.0.0.1:8090"}


def test_a_file_that_is_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", "mistyped.toml")
    with pytest.raises(ConfigError, match=r"mistyped\.toml is not there") as raised:
        load()
    assert raised.value.place == "BACKOUT_SETTINGS_FILE"
    monkeypatch.setenv("BACKOUT_SETTINGS_FILE", "")
    assert load().log_level == "info"


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("xoxb-not-to-be-shown\n")
    monkeypatch.setenv("BACKOUT_NOTIFIER__SLACK__TOKEN_FILE", str(tmp_path / "token"))
    settings = load()
    assert settings.notifier.slack.token == SecretStr("xoxb-not-to-be-shown")
    assert "not-to-be-shown" not in repr(settings)
    assert "not-to-be-shown" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("variable", "value", "place"),
    [
        ("BACKOUT_KAFKA__SESSION_TIMEOUT_MS", "soon", "BACKOUT_KAFKA__SESSION_TIMEOUT_MS"),
        ("BACKOUT_KAFKA__SESSION_TIMEOUT_MS", "10", "BACKOUT_KAFKA__SESSION_TIMEOUT_MS"),
        ("BACKOUT_KAFKA__NAMESPACE", "no spaces", "BACKOUT_KAFKA__NAMESPACE"),
        ("BACKOUT_KAFKA__NAMSPACE", "a", "BACKOUT_KAFKA__NAMSPACE: there is no such setting"),
        ("BACKOUT_KAFAK__NAMESPACE", "a", "BACKOUT_KAFAK__NAMESPACE: there is no such setting"),
        ("BACKOUT_LOG_LEVEL", "loud", "BACKOUT_LOG_LEVEL"),
        ("BACKOUT_HTTP__PORT", "65536", "BACKOUT_HTTP__PORT"),
        ("BACKOUT_EXECUTOR__TARGETS", "docrag=http://a", "BACKOUT_EXECUTOR__TARGETS"),
        ("BACKOUT_MONITOR__RULES", "triggers.yml", "BACKOUT_MONITOR__RULES"),
        ("BACKOUT_INSTANCE", "a/b", "BACKOUT_INSTANCE"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, place: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigErrors) as caught:
        load()
    assert str(caught.value).startswith(place)


@pytest.mark.parametrize(
    ("variable", "mend"),
    [
        ("BACKOUT_KAFKA_BOOTSTRAP_SERVERS", "Did you mean BACKOUT_KAFKA__BOOTSTRAP_SERVERS?"),
        ("BACKOUT_POSTGRES_DSN", "Did you mean BACKOUT_POSTGRES__DSN?"),
        ("BACKOUT_NOTIFIER__SMPT", "Did you mean BACKOUT_NOTIFIER__SMTP?"),
        ("BACKOUT_CONFIGDIR", "Did you mean BACKOUT_CONFIG_DIR?"),
        ("BACKOUT_WEATHER", "Settings are BACKOUT_ANALYZER, "),
        ("BACKOUT_KAFKA__WEATHER", "Mend it there or in backout.toml"),
    ],
)
def test_of_a_misspelt_variable_the_one_that_was_meant_is_offered(
    monkeypatch: pytest.MonkeyPatch, variable: str, mend: str
) -> None:
    monkeypatch.setenv(variable, "a")
    with pytest.raises(ConfigErrors) as caught:
        load()
    assert f"{variable}: there is no such setting. {mend}" in str(caught.value)


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOUT_LOG_LEVEL", "loud")
    monkeypatch.setenv("BACKOUT_EXECUTOR__LEASE_S", "-1")
    with pytest.raises(ConfigErrors) as caught:
        load()
    assert {error.place for error in caught.value.errors} == {
        "BACKOUT_LOG_LEVEL",
        "BACKOUT_EXECUTOR__LEASE_S",
    }


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOUT_POSTGRES__DSN", "postgresql://u:hidden@h/d")
    monkeypatch.setenv("BACKOUT_POSTGRES__POOL_SIZE", "1")
    with pytest.raises(ConfigErrors) as caught:
        load()
    assert "hidden" not in str(caught.value)


def test_an_unknown_key_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "backout.toml").write_text("[kafka]\nnamspace = 'a'\n")
    with pytest.raises(ConfigErrors, match="BACKOUT_KAFKA__NAMSPACE: there is no such setting"):
        load()


@pytest.mark.parametrize("content", [b"[kafka", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "backout.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^backout\.toml: .*TOML"):
        load()


def test_a_directory_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "backout.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^backout\.toml: cannot be read"):
        load()


def test_a_secret_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOUT_POSTGRES__DSN_FILE", "absent")
    with pytest.raises(ConfigError, match=r"^BACKOUT_POSTGRES__DSN_FILE: cannot read absent"):
        load()


@pytest.mark.parametrize("first", ["", "_FILE"])
def test_a_secret_that_is_set_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: str
) -> None:
    """In either order: the environment keeps that of setting, and the later one must not win."""
    (tmp_path / "dsn").write_text("postgresql://of-the-file/backout")
    values = {"": "postgresql://of-the-variable/backout", "_FILE": str(tmp_path / "dsn")}
    for suffix in sorted(values, key=lambda suffix: suffix != first):
        monkeypatch.setenv(f"BACKOUT_POSTGRES__DSN{suffix}", values[suffix])
    with pytest.raises(
        ConfigError,
        match=r"^BACKOUT_POSTGRES__DSN_FILE: BACKOUT_POSTGRES__DSN is set as well.* Unset one of the two$",
    ):
        load()


def test_an_empty_variable_beside_a_secret_file_is_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dsn").write_text("postgresql://of-the-file/backout")
    monkeypatch.setenv("BACKOUT_POSTGRES__DSN", "")
    monkeypatch.setenv("BACKOUT_POSTGRES__DSN_FILE", str(tmp_path / "dsn"))
    assert load().postgres_dsn == "postgresql://of-the-file/backout"


def test_what_is_needed_and_not_set_says_how_to_mend_it() -> None:
    settings = load()
    with pytest.raises(ConfigError, match=r"BACKOUT_KAFKA__BOOTSTRAP_SERVERS: .*backout up"):
        _ = settings.bootstrap_servers
    with pytest.raises(ConfigError, match=r"BACKOUT_POSTGRES__DSN: .*backout up"):
        _ = settings.postgres_dsn


@pytest.mark.parametrize("servers", ["kafka", "kafka:9092", "a.b-c_d:1, 10.0.0.1:65535", "[::1]:9092"])
def test_addresses_of_brokers(servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOUT_KAFKA__BOOTSTRAP_SERVERS", servers)
    assert load().bootstrap_servers == servers


@pytest.mark.parametrize(
    "servers", ["a:b:c", "kafka:0", "kafka:65536", "kafka:9092,", ",", "http://kafka:9092"]
)
def test_what_is_no_address_of_a_broker_is_named(servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOUT_KAFKA__BOOTSTRAP_SERVERS", servers)
    with pytest.raises(ConfigErrors, match=r"^BACKOUT_KAFKA__BOOTSTRAP_SERVERS: .* is no host:port"):
        load()
