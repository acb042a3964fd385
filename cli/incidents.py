"""``backout incidents``: what happened, the reports, and closing what waits for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import asyncpg
import typer

from chassis.errors import BackoutError, UsageError
from chassis.kafka import Kafka
from chassis.postgres import Pool, open_pool
from chassis.settings import Settings, load_settings
from cli.commands import issued, send_command
from cli.output import Output, OutputOption, clock, write_json, write_table
from cli.sending import require_topics
from schemas.commands import CloseIncidentCommand

if TYPE_CHECKING:
    from services.analyzer.main import Replayed

app = typer.Typer(no_args_is_help=True, help="Incidents: list, show, read reports, replay, close.")
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="An incident's id, or the beginning of one.")]
T = TypeVar("T")

_DATABASE_TIMEOUT_S = 5.0
_LIST = """
SELECT * FROM backout.incidents WHERE (NOT $1 OR status = 'open')
ORDER BY opened_at DESC, incident_id LIMIT $2
"""
_FIND = """
SELECT * FROM backout.incidents WHERE incident_id = $1 OR starts_with(incident_id, $1)
ORDER BY incident_id <> $1, incident_id LIMIT 10
"""
_ADDENDA = """
SELECT event_id, type, topic, partition, "offset", at FROM backout.incident_addenda
WHERE incident_id = $1 ORDER BY at, topic, "offset"
"""


class Format(StrEnum):
    """The forms of a report."""

    HTML = "html"
    MD = "md"
    JSON = "json"


class Source(StrEnum):
    """What a report is made again from."""

    LOG = "log"
    ARCHIVE = "archive"


class NotIdentical(BackoutError):
    """The report that was made again differs from the stored one."""


@app.command("list")
def list_incidents(
    output: OutputOption = Output.TABLE,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest first.")] = 50,
) -> None:
    """List incidents, the newest first."""

    async def query(_: Settings, pool: Pool) -> list[dict[str, Any]]:
        return [dict(row) for row in await pool.fetch(_LIST, only_open, limit)]

    nothing: list[dict[str, Any]] = []
    found = _with_database(query, absent=nothing)
    if output is Output.JSON:
        write_json(found)
        return
    if not found:
        typer.echo("No incidents.")
        return
    write_table(
        ("INCIDENT", "COMPONENT", "STATUS", "OUTCOME", "OPENED", "CLOSED", "WHY"),
        (
            (
                row["incident_id"],
                row["component"],
                row["status"],
                row["outcome"],
                clock(row["opened_at"]),
                clock(row["closed_at"]),
                row["why"],
            )
            for row in found
        ),
    )


@app.command()
def show(incident: IdArgument, output: OutputOption = Output.TABLE) -> None:
    """Show an incident: how it stands, what it waits for, what came after its close."""

    async def query(_: Settings, pool: Pool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        row = await _find(pool, incident)
        return row, [dict(one) for one in await pool.fetch(_ADDENDA, row["incident_id"])]

    row, addenda = _with_database(query)
    if output is Output.JSON:
        write_json({**row, "addenda": addenda})
        return
    write_table(("FIELD", "VALUE"), _fields(row))
    if addenda:
        typer.echo("\nAfter the close:")
        write_table(
            ("TIME", "EVENT", "TYPE", "PLACE"),
            (
                (
                    clock(one["at"]),
                    one["event_id"],
                    one["type"],
                    f"{one['topic']}[{one['partition']}] {one['offset']}",
                )
                for one in addenda
            ),
        )


@app.command()
def report(
    incident: IdArgument,
    form: Annotated[Format, typer.Option("--format", help="Which form of it.")] = Format.HTML,
    stdout: Annotated[bool, typer.Option("--stdout", help="Print the report, not its path.")] = False,
) -> None:
    """Print where an incident's report is, or the report itself."""

    async def query(_: Settings, pool: Pool) -> dict[str, Any]:
        return await _find(pool, incident)

    row = _with_database(query)
    if row["report_dir"] is None:
        problem = row["report_error"] or "it is written when the incident is closed"
        raise BackoutError(f"{row['incident_id']} has no report yet: {problem}")
    path = Path(row["report_dir"]) / f"report.{form}"
    if not stdout:
        typer.echo(path)
        return
    try:
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
    except FileNotFoundError:
        raise BackoutError(
            f"{path} is not there: it was written where the analyzer runs, or has been deleted"
        ) from None


@app.command()
def replay(
    incident: IdArgument,
    source: Annotated[
        Source, typer.Option("--from", help="The log's frozen ranges, or the archive.")
    ] = Source.LOG,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a report again and compare it with the stored one; exit 1 if a byte differs."""

    # Imported here: the stream library takes half a second, and the other commands do without.
    from services.analyzer.main import replay as replay_report

    async def again(settings: Settings, pool: Pool) -> Replayed:
        row = await _find(pool, incident)
        return await replay_report(settings, pool, row["incident_id"], from_log=source is Source.LOG)

    made = _with_database(again)
    if output is Output.JSON:
        write_json(
            {
                "incident_id": made.incident_id,
                "from": str(source),
                "identical": made.is_identical,
                "sha256": made.sha256,
                "stored_sha256": made.stored_sha256,
                "files": made.identical,
            }
        )
    else:
        write_table(("REPORT", "SHA256"), (("replayed", made.sha256), ("stored", made.stored_sha256)))
        write_table(("FILE", "IDENTICAL"), ((name, same) for name, same in made.identical.items()))
    if not made.is_identical:
        raise NotIdentical(f"the report of {made.incident_id} made from the {source} is not the stored one")


@app.command()
def close(
    incident: IdArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why: it goes into the incident's report.")],
) -> None:
    """Close an incident that waits for a person; it is closed once its rollbacks have ended."""

    async def ask(settings: Settings, pool: Pool) -> str:
        row = await _find(pool, incident)
        if row["status"] != "open":
            into = f" into {row['merged_into']}" if row["merged_into"] else ""
            raise UsageError(f"{row['incident_id']} is {row['status']} already{into}")
        incident_id = str(row["incident_id"])
        command = CloseIncidentCommand(incident_id=incident_id, **issued(settings, reason))
        kafka = Kafka.of(settings, "cli")
        await require_topics(kafka, "commands")
        await send_command(kafka, command, row["component"], incident=incident_id)
        return incident_id

    typer.echo(f"Asked to close {_with_database(ask)}.")


def _with_database(query: Callable[[Settings, Pool], Awaitable[T]], absent: T | None = None) -> T:
    """Run a query; where the analyzer has never run there is nothing to find (``absent``)."""
    settings = load_settings()

    async def run() -> T:
        async with open_pool(settings, "cli", timeout_s=_DATABASE_TIMEOUT_S) as pool:
            return await query(settings, pool)

    try:
        return asyncio.run(run())
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        if absent is None:
            raise UsageError("there are no incidents: no analyzer has run on this database yet") from None
        return absent


async def _find(pool: Pool, incident: str) -> dict[str, Any]:
    """The incident of an id, or of the beginning of one; raises UsageError for none or several."""
    found = [dict(row) for row in await pool.fetch(_FIND, incident)] if incident else []
    if not found:
        raise UsageError(f"there is no incident {incident!r}; `backout incidents list` shows them")
    if len(found) > 1 and found[0]["incident_id"] != incident:
        names = ", ".join(row["incident_id"] for row in found)
        raise UsageError(f"{incident!r} begins the ids of several incidents: {names}")
    return found[0]


def _fields(row: Mapping[str, Any]) -> list[tuple[str, object]]:
    shown: list[tuple[str, object]] = []
    for name, value in row.items():
        if isinstance(value, list):
            shown.append((name, ", ".join(value) or None))
        else:
            shown.append((name, clock(value) if isinstance(value, datetime) else value))
    return shown
