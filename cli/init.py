"""``backout init``: the files that somebody needs who wants to protect a service of their own.

What ships in ``config/`` is the plan of the sample system: its playbook, its stakeholders. Who copies that
has to find out what to take away before anything can be loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from chassis.errors import UsageError

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_WORD = re.compile("COMPONENT|TARGET|ADDRESS")
_TARGET = re.compile(r"https?://[^\s/\"\\{}]+[^\s\"\\{}]*")


def init(
    component: Annotated[
        str, typer.Argument(metavar="COMPONENT", help="The service, as its samples name it.")
    ],
    target: Annotated[
        str, typer.Option(metavar="URL", help="Where its playbook's requests go; otherwise a placeholder.")
    ] = "",
    directory: Annotated[
        Path, typer.Option(metavar="DIRECTORY", help="Where to write backout.toml and config/.")
    ] = Path(),
) -> None:
    """Write the configuration of one service: settings, triggers with tests, a playbook, who is told.

    The playbook is in shadow mode: it plans and announces, and does nothing. Nothing is overwritten: where
    one of the files is there already, the exit status is 2 and nothing was written.
    """
    if not _COMPONENT.fullmatch(component):
        raise UsageError(
            f"{component!r}: letters, digits, '_', '.' and '-' are allowed, up to 128, "
            "beginning with a letter or digit"
        )
    address = target or f"http://{component}.example"
    if not _TARGET.fullmatch(address):
        raise UsageError(f"--target {target}: write http://host:port")
    # What templates call a target has no dots.
    words = {"COMPONENT": component, "TARGET": component.replace(".", "-"), "ADDRESS": address}

    def filled(text: str) -> str:
        return _WORD.sub(lambda match: words[match[0]], text)

    written = {directory / filled(path): filled(text) for path, text in _starter()}
    there = [str(path) for path in written if path.exists()]
    if there:
        raise UsageError(f"nothing was written, for there is already {', '.join(there)}")
    for path, text in written.items():
        _write(path, text)
        typer.echo(f"wrote {path}")
    _show_next(directory, component)


def _starter() -> Iterator[tuple[str, str]]:
    """The files' paths and texts, with COMPONENT, TARGET and ADDRESS in them."""

    def below(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                yield from below(entry, f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry.read_text(encoding="utf-8")

    return below(files("cli") / "starter", "")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error


def _show_next(directory: Path, component: str) -> None:
    begin = f"cd {directory}\n  " if directory != Path() else ""
    typer.echo(
        f"\nNext:\n  {begin}backout triggers check config/rollback/triggers.yml\n"
        "  backout triggers test config/rollback/tests/triggers_test.yml\n"
        f"  backout rollback --component {component} --dry-run\n"
        "  backout doctor\n"
        "  backout up"
    )
