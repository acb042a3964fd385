"""What no committed file may hold: addresses of package registries, and paths of one machine.

The needles are put together here, so that this file does not hold them either.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("maven", "google", "com"),
        ("proxy", "golang", "org"),
        ("registry", "yarnpkg", "com"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("crates", "io"),
    )
]
MACHINE_PATHS = [f"/{name}/" for name in ("work", "home", "Users")] + [f"/{'root'}/."]
INDEX_OPTIONS = ["--" + "index-url", "--" + "extra-index-url", "--" + "find-links"]


def tracked_files() -> list[Path]:
    """Everything that git has, or would have after `git add`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in result.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def lines_with(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    """``file:line: text`` for each line that the pattern is found in; binary files have no lines."""
    found = []
    for path in files:
        text = path.read_bytes().decode("utf-8", "ignore")
        if pattern.search(text):
            numbered = enumerate(text.splitlines(), start=1)
            name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            found += [f"{name}:{number}: {line[:100]}" for number, line in numbered if pattern.search(line)]
    return found


def any_of(needles: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?<![\w-]){re.escape(needle)}" for needle in needles))


def test_there_are_files_to_look_at() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in tracked_files()}
    assert {"Makefile", "requirements/dev.txt", "schemas/topics.yaml"} <= names


def test_no_file_holds_the_address_of_a_registry() -> None:
    assert lines_with(any_of(REGISTRIES), tracked_files()) == []


def test_no_requirements_name_an_index() -> None:
    files = [path for path in tracked_files() if path.name != Path(__file__).name]
    assert lines_with(any_of(INDEX_OPTIONS), files) == []


def test_no_file_holds_a_path_of_one_machine() -> None:
    pattern = re.compile("|".join(rf"(?<![\w.}}\])-]){re.escape(needle)}" for needle in MACHINE_PATHS))
    assert lines_with(pattern, tracked_files()) == []


@pytest.mark.parametrize("needle", REGISTRIES)
def test_a_planted_address_is_found(tmp_path: Path, needle: str) -> None:
    planted = tmp_path / "planted.toml"
    planted.write_text(f'first = 1\nurl = "https://files.{needle}/simple"\n')
    assert lines_with(any_of(REGISTRIES), [planted]) == [
        f'{planted}:2: url = "https://files.{needle}/simple"'
    ]


def test_locked_requirements_have_a_hash_each() -> None:
    for name in ("uv", "dev", "runtime", "docrag", "build"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        requirements = re.split(r"\n(?=\S)", text)
        pinned = [item for item in requirements if re.match(r"[A-Za-z0-9]", item)]
        assert pinned, name
        assert [item.splitlines()[0] for item in pinned if "--hash=sha256:" not in item] == []
        assert [item.splitlines()[0] for item in pinned if "==" not in item.splitlines()[0]] == []
