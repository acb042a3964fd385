"""The ``backout`` command: one place that registers the sub-commands and turns errors into messages."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, ClassVar

import typer

from chassis.errors import BackoutError
from cli.later import LaterGroup


class Commands(LaterGroup):
    """Every command. Its imports belong to its run: an interrupt during them is no traceback."""

    modules: ClassVar[Mapping[str, str]] = {
        "init": "init",
        "up": "infrastructure",
        "down": "infrastructure",
        "run": "infrastructure",
        "doctor": "doctor",
        "rollback": "rollback",
        "report": "report",
        "status": "rollback",
        "pause": "rollback",
        "resume": "rollback",
        "dead-letters": "dead_letters",
        "incidents": "incidents",
        "triggers": "triggers",
        "breakers": "breakers",
        "predictions": "prediction_alerts",
        "topics": "topics",
        "metrics": "metrics",
        "release": "releases",
    }


app = typer.Typer(
    name="backout",
    cls=Commands,
    help="Notices a bad release, rolls it back, tells people, and writes the report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"backout {version('backout')}")
        raise typer.Exit


@app.callback()
def backout(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Notices a bad release, rolls it back, tells people, and writes the report.

    Settings come from BACKOUT_ variables and backout.toml. Without a Kafka or a Postgres there,
    commands use those of the `backout up` that runs in this directory.
    """


def main() -> None:
    """Run the command line; exits with 2 for wrong use or settings, 1 for what failed otherwise."""
    if os.environ.get("BACKOUT_DEBUG") != "1":
        # The error says what it could not do. A service gives the root a handler, which hears it, too.
        logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    try:
        app()
    except BackoutError as error:
        if os.environ.get("BACKOUT_DEBUG") == "1":
            raise
        sys.stderr.write(f"backout: {error}\n")
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get("BACKOUT_DEBUG") == "1":
            raise
        what = f"{type(error).__name__}: {error}"
        sys.stderr.write(f"backout: unexpected error: {what}. BACKOUT_DEBUG=1 shows where it arose\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
