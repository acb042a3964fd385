"""``backout release``: tell the monitor that a component runs something else from now on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.settings import load_settings
from cli.sending import require_topics
from cli.times import TIME_HELP, parse_time
from schemas.metrics import Release, encode_release, release_problem
from services.monitor.domain.engine.intake import MAX_AHEAD_S

app = typer.Typer(no_args_is_help=True, help="Announce releases, for triggers that look at them.")


@app.callback()
def release() -> None:
    """Announce releases, for triggers that look at them."""


@app.command()
def announce(
    component: Annotated[str, typer.Option(metavar="NAME", help="Which component, as its samples name it.")],
    version: Annotated[str | None, typer.Option(metavar="VERSION", help="What it runs from then on.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"When: {TIME_HELP}; now, unless given.")
    ] = None,
) -> None:
    """Append a release to the component's partition of the metrics topic.

    Triggers with `only_within` or `baseline` look at the newest release of their component. Announce
    each change of what runs, a rollback too. A pipeline may publish the same record itself.
    """
    now = datetime.now(UTC).timestamp()
    time = now if at is None else parse_time("--at", at)
    if time - now > MAX_AHEAD_S:
        ahead = f"--at {at} is {time - now:.0f} s ahead, more than {MAX_AHEAD_S:g}"
        raise UsageError(f"{ahead}: the monitor would refuse it. Announce a release when it happens")
    made = Release(component, time, version)
    problem = release_problem(made)
    if problem is not None:
        raise UsageError(f"--component: {problem.error}")
    if version is not None and not 1 <= len(version) <= 256:
        raise UsageError("--version: 1 to 256 characters")
    place = asyncio.run(_announce(Kafka.of(load_settings(), "cli"), made))
    shown = datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    what = component if version is None else f"{component} {version}"
    typer.echo(f"Announced the release of {what} at {shown} ({place}).")


async def _announce(kafka: Kafka, made: Release) -> str:
    topic = kafka.topic("metrics")
    await require_topics(kafka, "metrics")
    async with kafka.producer() as producer:
        appended = await producer.send(topic, encode_release(made), key=made.component.encode())
    return f"{topic}[{appended.partition}] at offset {appended.offset}"
