"""The installer without a network: what was fetched once must do.

It runs for real, on a small environment of its own under a temporary directory. The package index
is a port at which nobody listens, and the caches of pip and uv are empty; a network namespace would
say the same, but not every machine lets a test make one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKED = ("hatchling", "packaging", "pathspec", "pluggy", "trove-classifiers", "editables")
PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "small"
version = "1.0"
[tool.hatch.build.targets.wheel]
packages = ["small"]
"""


class Checkout:
    """A checkout with a complete ``.venv``, whose installer has not been run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.venv = root / ".venv"
        (root / "requirements").mkdir()
        (root / "small").mkdir()
        (root / "small" / "__init__.py").touch()
        (root / "pyproject.toml").write_text(PYPROJECT)
        for name in ("install.py", "uv.txt"):
            shutil.copy(ROOT / "requirements" / name, root / "requirements" / name)
        (root / "requirements" / "dev.txt").write_text(_locks(LOCKED))
        subprocess.run([sys.executable, "-m", "venv", self.venv], check=True)
        for name in (*LOCKED, "uv"):
            self.copy_installed(name)

    def copy_installed(self, name: str) -> None:
        """Put a package of the suite's own environment here, too."""
        for file in metadata.distribution(name).files or ():
            source = Path(str(file.locate())).resolve()
            target = self.venv / source.relative_to(Path(sys.prefix).resolve())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    def remove(self, name: str) -> None:
        for found in self.venv.glob(f"lib/python*/site-packages/{name}*"):
            shutil.rmtree(found) if found.is_dir() else found.unlink()

    def install(self) -> subprocess.CompletedProcess[str]:
        nowhere = "http://127.0.0.1:9/simple"
        kept = {name: value for name, value in os.environ.items() if not _is_of_an_installer(name)}
        environment = {
            **kept,
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": nowhere,
            "PIP_RETRIES": "0",
            "PIP_CACHE_DIR": str(self.root / "no-cache"),
            "UV_NO_CONFIG": "1",
            "UV_DEFAULT_INDEX": nowhere,
            "UV_HTTP_RETRIES": "0",
            "UV_CACHE_DIR": str(self.root / "no-cache"),
        }
        return subprocess.run(
            [sys.executable, self.root / "requirements" / "install.py"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def imports(self, name: str) -> bool:
        python = self.venv / "bin" / "python"
        return (
            subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0
        )


def _locks(names: Iterable[str]) -> str:
    """These packages' lines of the real lock, with their hashes."""
    text = (ROOT / "requirements" / "dev.txt").read_text()
    found = [re.search(rf"^{name}==.*(?:\n    .*)*", text, re.MULTILINE) for name in names]
    return "".join(f"{match.group()}\n" for match in found if match)


def _is_of_an_installer(name: str) -> bool:
    return name.startswith(("PIP_", "UV_", "VIRTUAL_ENV")) or name.upper().endswith("_PROXY")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


def test_what_is_installed_is_made_current_without_a_network(checkout: Checkout) -> None:
    done = checkout.install()
    assert done.returncode == 0, done.stderr
    assert checkout.imports("small")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["environment"] * 2
    assert checkout.install().stderr == ""

    # Changed, and yet of the same packages: uv asks the index all the same, unless it is kept from it.
    with (checkout.root / "pyproject.toml").open("a") as pyproject:
        pyproject.write("# changed\n")
    done = checkout.install()
    assert done.returncode == 0, done.stderr
    assert "ready in" in done.stderr
    assert checkout.imports("small")


@pytest.mark.parametrize(("package", "command"), [("pluggy", "uv pip sync"), ("uv", "pip install")])
def test_what_cannot_be_had_is_named_with_the_mend(checkout: Checkout, package: str, command: str) -> None:
    checkout.install()
    checkout.remove(package)
    (checkout.venv / ".installed").unlink()
    done = checkout.install()
    checkout.copy_installed(package)
    assert done.returncode == 1
    *_, failed, mend = done.stderr.splitlines()
    assert f"not made, because this failed: {checkout.venv}/bin/{command}" in failed
    assert "no connection" in mend
    assert "PIP_INDEX_URL and UV_DEFAULT_INDEX" in mend
    assert "make install" in mend
    assert not (checkout.venv / ".installed").exists()
