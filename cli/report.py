"""``backout report``: a person says what no metric shows, and the compound triggers decide what follows."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.settings import Settings, load_settings
from cli.output import Output, OutputOption, write_json
from cli.sending import require_topics, send_event, user
from schemas.envelope import Event, make_event
from schemas.reports import ReportEvent, ReportKind


def report(
    data_corruption: Annotated[
        bool, typer.Option("--data-corruption", help="Data were found to be wrong.")
    ] = False,
    security_breach: Annotated[
        bool, typer.Option("--security-breach", help="Somebody is where they must not be.")
    ] = False,
    component: Annotated[str, typer.Option("--component", help="Where it was noticed.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="What was seen: everybody will be told.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who reports it; otherwise who runs this.")] = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """Report data corruption or a security breach. The triggers that answer to it fire at once.

    Those that ship ask for the rollback of the full system, and pass a pause. Exit status: 0 when it
    was reported, 1 when Kafka did not answer, 2 when something is missing, and then nothing was written.
    """
    if data_corruption is security_breach:
        raise UsageError("say what happened: --data-corruption or --security-breach, one of them")
    if not component:
        raise UsageError("say where it was noticed, with --component")
    if not reason.strip():
        raise UsageError("say what was seen, with --reason: everybody will be told")
    kind: ReportKind = "data_corruption" if data_corruption else "security_breach"
    event = _event(kind, component, reason, by or user())
    asyncio.run(_send(load_settings(), event))
    data = event.data
    if output is Output.JSON:
        write_json({"report_id": event.id, **data.model_dump(mode="json")})
        return
    what = data.kind.replace("_", " ")
    typer.echo(
        f"Reported {what} of {data.component} ({event.id}). What it set off: `backout incidents list`."
    )


def _event(kind: ReportKind, component: str, reason: str, by: str) -> Event[ReportEvent]:
    now = datetime.now(UTC)
    report_id = f"report-{secrets.token_hex(12)}"
    try:
        return make_event(
            ReportEvent(kind=kind, component=component, at=now, reported_by=by, reason=reason),
            event_id=report_id,
            source="/backout/cli",
            time=now,
            subject=component,
            correlationid=report_id,
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = {"reported_by": "by"}.get(str(first["loc"][0]), str(first["loc"][0]))
        raise UsageError(f"--{field}: {first['msg']}. Nothing was written") from None


async def _send(settings: Settings, event: Event[ReportEvent]) -> None:
    kafka = Kafka.of(settings, "cli")
    await require_topics(kafka, "reports")
    await send_event(kafka, "reports", event)
