"""``backout rollback``, ``status``, ``pause`` and ``resume``: what a person asks of the executor.

A rollback that cannot be carried out is refused here, with nothing written: who asks in an
emergency must not wait for a service to say no.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from chassis.errors import ConfigErrors, PermanentError, UsageError
from chassis.kafka import Kafka
from chassis.postgres import open_pool
from chassis.settings import Settings, load_settings
from cli.commands import issued, send_command
from cli.follow import RollbackFailed, follow_to_end, telling_of_an_interrupt, words_of
from cli.output import Output, OutputOption, clock, write_json, write_table
from cli.sending import require_topics
from schemas.commands import FULL_SYSTEM, Command, PauseCommand, ResumeCommand, RollbackCommand
from schemas.rollbacks import RollbackEvent
from services.executor.adapters.playbook_files import load_playbooks
from services.executor.domain.plan import describe, execution_id_of, plan_hash, plan_of
from services.executor.domain.playbook import Playbook

ReasonOption = Annotated[str, typer.Option("--reason", help="Why: it is journaled and told to everybody.")]
_SHOWN_ENDED = 10

_EXECUTIONS = """
SELECT execution_id, incident_id, component, asked_by, requested_by, mode, playbook_mode, state, status,
       progress, estimated_completion, created_at, ended_at, owner, epoch, owner_is_alive,
       last.kind AS last_entry, last.step_id AS last_step, last.why
FROM backout.executions
LEFT JOIN LATERAL (
    SELECT kind, step_id, why FROM backout.journal WHERE journal.execution_id = executions.execution_id
    ORDER BY sequence DESC LIMIT 1) AS last ON true
WHERE state IN ('running', 'held') OR execution_id IN (
    SELECT execution_id FROM backout.executions WHERE state NOT IN ('running', 'held')
    ORDER BY created_at DESC LIMIT $1)
ORDER BY (state IN ('running', 'held')) DESC, created_at DESC
"""
_CONTROL = "SELECT paused, reason, changed_by, changed_at FROM backout.control"


def rollback(
    named: Annotated[
        str, typer.Argument(metavar="[COMPONENT]", help="What to roll back.", show_default=False)
    ] = "",
    component: Annotated[
        str, typer.Option("--component", help="What to roll back, as well.", show_default=False)
    ] = "",
    emergency: Annotated[
        bool, typer.Option("--emergency", help="Pass the pause; without a component: the full system.")
    ] = False,
    preserve_data: Annotated[
        bool, typer.Option("--preserve-data", help="Only if the playbook promises to keep the data.")
    ] = False,
    reason: ReasonOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan of steps, do nothing.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Show the progress; exit 0 on Success.")] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1.0, help="Follow no longer, in seconds.")
    ] = 1800.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Roll a component back, as its playbook says.

    Exit status: 0 when it was asked for (with --follow: when it ended in Success), 1 when it ended
    otherwise, 2 when there is no playbook for it, and then nothing was written.
    """
    settings = load_settings()
    if named and component and named != component:
        raise UsageError(f"{named!r} and --component {component!r} are two things. Name one")
    component = component or named
    if not component and not emergency:
        raise UsageError("nothing to roll back. Name it, or say --emergency")
    if emergency and not reason:
        raise UsageError("an emergency needs a --reason: everybody will be told")
    playbook = _playbook(settings.config_dir, component or FULL_SYSTEM)
    if preserve_data and not playbook.preserves_data:
        raise UsageError(
            f"the playbook {playbook.name} does not promise to keep the data. Roll back without "
            "--preserve-data, or see to its `preserves_data: true`"
        )
    if dry_run:
        _show_plan(playbook, output)
        return
    command = RollbackCommand(
        component=playbook.name,
        mode="emergency" if emergency else "planned",
        preserve_data=preserve_data,
        **issued(settings, reason),
    )
    asyncio.run(_ask(settings, command, playbook.name, follow=follow, timeout_s=timeout, output=output))


def status(output: OutputOption = Output.TABLE) -> None:
    """Show what is being rolled back, and how the last rollbacks ended."""
    control, executions = asyncio.run(_read_status(load_settings()))
    if output is Output.JSON:
        write_json({"control": control, "executions": executions})
        return
    if control["paused"]:
        since = clock(control["changed_at"])
        typer.echo(f"PAUSED by {control['changed_by']} since {since}: {control['reason']}")
    else:
        typer.echo("Rollbacks are not paused.")
    if not executions:
        typer.echo("There has been no rollback.")
        return
    headings = ("EXECUTION", "COMPONENT", "STATE", "PROGRESS", "BEGAN", "ENDED OR EXPECTED", "ASKED FOR BY")
    write_table(headings, [_row(item) for item in executions])
    for item in executions:
        # Its incident has no report before somebody has closed it.
        if item["why"] and (item["state"] == "held" or item["status"] not in (None, "Success")):
            typer.echo(f"\n{item['execution_id']}: {item['why']}")


def pause(reason: ReasonOption = "") -> None:
    """Start no rollback, and hold those that run between two steps, until a resume.

    An emergency and an immediate trigger pass the pause.
    """
    settings = load_settings()
    command_id = asyncio.run(_send_plain(settings, PauseCommand(**issued(settings, reason))))
    typer.echo(f"Asked for a pause ({command_id}). `backout status` shows when it holds.")


def resume(reason: ReasonOption = "") -> None:
    """End a pause."""
    settings = load_settings()
    command_id = asyncio.run(_send_plain(settings, ResumeCommand(**issued(settings, reason))))
    typer.echo(f"Asked to resume ({command_id}). `backout status` shows when it holds.")


def _playbook(config_dir: Path, component: str) -> Playbook:
    directory = config_dir / "playbooks"
    try:
        playbooks = load_playbooks(directory)
    except ConfigErrors as broken:
        # Another component's mistake must not stand in the way; its own is raised here.
        playbooks = load_playbooks(directory, only=component)
        typer.echo(
            f"warning: another playbook is wrong, and the executor will not start again:\n{broken}", err=True
        )
    playbook = playbooks.get(component)
    if playbook is not None:
        return playbook
    known = ", ".join(sorted(playbooks.by_component)) or "none"
    what = "the full system" if component == FULL_SYSTEM else component
    raise UsageError(
        f"there is no playbook for {what} in {directory}: nothing was written. There is one for: {known}"
    )


def _show_plan(playbook: Playbook, output: Output) -> None:
    steps = plan_of(playbook)
    if output is Output.JSON:
        require = [describe(check) for check in playbook.require]
        write_json(
            {
                "component": playbook.name,
                "playbook_mode": playbook.mode,
                "plan_hash": plan_hash(playbook),
                "preserves_data": playbook.preserves_data,
                "deadline_s": playbook.deadline_s,
                "require": require,
                "steps": [step.model_dump() for step in steps],
                "on_failure": playbook.on_failure,
            }
        )
        return
    typer.echo(f"Plan for {playbook.name} ({playbook.mode}, {plan_hash(playbook)[:19]}). Nothing is done.")
    for check in playbook.require:
        typer.echo(f"first: {describe(check)}")
    rows = [
        (
            number,
            step.id,
            step.action,
            "yes" if step.reversible else "no",
            "yes" if step.fenced else "NO",
            step.description,
        )
        for number, step in enumerate(steps, start=1)
    ]
    write_table(("", "STEP", "ACTION", "REVERSIBLE", "FENCED", "WHAT IT DOES"), rows)
    if playbook.on_failure is not None:
        typer.echo(f"on failure: the rollback of {playbook.on_failure}")


async def _send_plain(settings: Settings, command: Command) -> str:
    kafka = Kafka.of(settings, "cli")
    await require_topics(kafka, "commands")
    return await send_command(kafka, command, FULL_SYSTEM)


async def _ask(
    settings: Settings,
    command: RollbackCommand,
    component: str,
    *,
    follow: bool,
    timeout_s: float,
    output: Output,
) -> None:
    kafka = Kafka.of(settings, "cli")
    await require_topics(kafka, "commands", *(("rollbacks",) if follow else ()))
    async with follow_to_end(kafka, component, enabled=follow, timeout_s=timeout_s) as following:
        command_id = await send_command(kafka, command, component)
        if output is Output.JSON and not follow:
            write_json({"command_id": command_id, "execution_id": execution_id_of(command_id)})
        elif output is Output.TABLE:
            typer.echo(f"Asked for the rollback of {component} ({command_id}).")
        if following is None:
            return
        end = None
        with telling_of_an_interrupt():
            async for event in following(command_id):
                end = event
                typer.echo(event.model_dump_json() if output is Output.JSON else words_of(event))
    if end is None or end.status != "Success":
        raise RollbackFailed(
            f"the rollback of {component} did not end in Success: {_end_words(end) if end else 'no answer'}"
        )


def _end_words(end: RollbackEvent) -> str:
    """How it ended, and why: also that an ``on_failure`` goes on."""
    return f"{end.status or end.reason} ({end.why})" if end.why else end.status or end.reason


async def _read_status(settings: Settings) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    async with open_pool(settings, "cli", timeout_s=5) as pool:
        try:
            control = await pool.fetchrow(_CONTROL)
            executions = await pool.fetch(_EXECUTIONS, _SHOWN_ENDED)
        except asyncpg.UndefinedTableError as error:
            raise PermanentError(
                "the executor has not run on this database yet. Start it with `backout up`"
            ) from error
    return dict(control or {}), [dict(item) for item in executions]


def _row(item: dict[str, Any]) -> tuple[object, ...]:
    alive = item["status"] or item["state"]
    if item["state"] in ("running", "held") and not item["owner_is_alive"]:
        alive = f"{alive} (no owner)"
    when = item["ended_at"] or item["estimated_completion"]
    return (
        item["execution_id"],
        item["component"],
        alive,
        f"{item['progress']} %",
        clock(item["created_at"]),
        clock(when),
        f"{item['asked_by']} {item['requested_by']}",
    )
