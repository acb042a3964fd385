"""The ``backout`` command: one place that registers the sub-commands and turns errors into messages."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from chassis.errors import BackoutError
from cli import (
    breakers,
    dead_letters,
    doctor,
    incidents,
    infrastructure,
    metrics,
    prediction_alerts,
    releases,
    report,
    rollback,
    topics,
    triggers,
)

app = typer.Typer(
    name="backout",
    help="Notices a bad release, rolls it back, tells people, and writes the report.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(infrastructure.up)
app.command()(infrastructure.down)
app.command()(infrastructure.run)
app.command()(doctor.doctor)
app.command()(rollback.rollback)
app.command()(report.report)
app.command()(rollback.status)
app.command()(rollback.pause)
app.command()(rollback.resume)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(incidents.app, name="incidents")
app.add_typer(triggers.app, name="triggers")
app.add_typer(breakers.app, name="breakers")
app.add_typer(prediction_alerts.app, name="predictions")
app.add_typer(topics.app, name="topics")
app.add_typer(metrics.app, name="metrics")
app.add_typer(releases.app, name="release")


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
