"""``backout breakers``: what the circuit breakers stand at, and whether their file is right."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from chassis.errors import UsageError
from chassis.kafka import Record
from chassis.settings import load_settings
from cli.output import Output, OutputOption, clock, write_json, write_table
from cli.reading import read_topic
from schemas.breakers import BreakerAlive, BreakerDecision
from schemas.registry import UnreadableEvent, read_event
from services.monitor.adapters.breaker_files import FILE, load_breakers
from services.monitor.domain.breakers.breaker_plan import BreakerPlan
from services.monitor.domain.language.durations import format_duration

app = typer.Typer(no_args_is_help=True, help="Circuit breakers: list, show, check their file.")
_ALIVE_FOR_S, _MAX_BEHIND_S = 30.0, 120.0
"""A client's defaults, too."""


@dataclass
class Read:
    """The topic as it stands: the latest decision of each component, and of each partition when its
    owner gave its latest sign of life."""

    decisions: dict[str, BreakerDecision] = field(default_factory=dict)
    alive: dict[int, datetime] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        key = (record.key or b"").decode("utf-8", "replace")
        if record.value is None:
            self.decisions.pop(key, None)
            return
        try:
            data = read_event(record.value).data
        except UnreadableEvent as error:
            typer.echo(f"{record.topic} at offset {record.offset}: {error}", err=True)
            return
        if isinstance(data, BreakerDecision):
            self.decisions[data.component] = data
        elif isinstance(data, BreakerAlive):
            written = datetime.fromtimestamp(record.timestamp / 1000, UTC)
            # One whose evaluation is far behind says nothing about now.
            if (written - data.through).total_seconds() <= _MAX_BEHIND_S:
                self.alive[data.partition] = written

    def sign_of_life_s(self, decision: BreakerDecision) -> float | None:
        """How many seconds ago the owner of the decision's partition was last alive."""
        written = self.alive.get(decision.partition)
        return None if written is None else max(0.0, (datetime.now(UTC) - written).total_seconds())

    def is_stale(self, decision: BreakerDecision) -> bool:
        age = self.sign_of_life_s(decision)
        return age is None or age > _ALIVE_FOR_S


@app.command("list")
def list_breakers(output: OutputOption = Output.TABLE) -> None:
    """List every component's breaker; `stale` where its monitor gave no sign of life for 30 s."""
    read = _read_topic()
    found = [read.decisions[name] for name in sorted(read.decisions)]
    if output is Output.JSON:
        write_json([_as_json(read, each) for each in found])
        return
    if not found:
        typer.echo("No breakers yet.")
        return
    write_table(
        ("COMPONENT", "STATE", "SINCE", "UNTIL", "FALLBACK", "FAILED", "MONITOR"),
        (
            (
                each.component,
                each.kind.replace("_", "-"),
                clock(each.since),
                clock(each.until),
                each.fallback,
                ", ".join(check.check for check in each.failed) or None,
                "stale" if read.is_stale(each) else "alive",
            )
            for each in found
        ),
    )


@app.command()
def show(
    component: Annotated[str, typer.Argument(help="A component.")], output: OutputOption = Output.TABLE
) -> None:
    """Show one breaker: its state, the reasons with value and threshold, and what comes next."""
    read = _read_topic()
    decision = read.decisions.get(component)
    if decision is None:
        known = ", ".join(sorted(read.decisions)) or "none yet"
        raise UsageError(f"there is no breaker of {component!r}. Known are: {known}")
    if output is Output.JSON:
        write_json(_as_json(read, decision))
        return
    age = read.sign_of_life_s(decision)
    write_table(
        ("FIELD", "VALUE"),
        (
            ("component", decision.component),
            ("state", decision.kind.replace("_", "-")),
            ("since", clock(decision.since)),
            ("until", clock(decision.until)),
            ("fallback", decision.fallback),
            ("reason", decision.reason),
            ("why", decision.why),
            ("reopened", decision.reopened),
            ("probe share", f"{decision.probe_share:g}"),
            ("monitor", "no sign of life" if age is None else f"alive {age:.0f} s ago"),
        ),
    )
    if decision.failed:
        typer.echo("")
        write_table(
            ("FAILED", "METRIC", "VALUE", "CONDITION", "SINCE"),
            (
                (check.check, check.metric, check.value, check.condition, clock(check.since))
                for check in decision.failed
            ),
        )


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help=f"A breakers file; {FILE} of the configuration, unless given.")
    ] = None,
) -> None:
    """Read a breakers file as the monitor would, and say everything that is wrong with it.

    Exit status 2 with file, line and mend of every mistake.
    """
    path = load_settings().config_dir / FILE if file is None else file
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    plans = load_breakers(path)
    for name, plan in (("every component", plans.default), *plans.components.items()):
        typer.echo(f"{name}:" if plan else f"{name}: no breaker")
        for line in _plan_lines(plan) if plan else ():
            typer.echo(f"  {line}")
    typer.echo("no mistakes")


def _plan_lines(plan: BreakerPlan) -> list[str]:
    terms = plan.terms
    checks = [f"{name}: {each.fails.metric} {each.fails.condition}" for name, each in plan.checks.items()]
    uses = [
        f"{fallback.use} ({', '.join(name for name in plan.checks if name in fallback.on)})"
        for fallback in plan.fallbacks
    ]
    times = (
        f"open for {format_duration(terms.open_for)} to {format_duration(terms.open_at_most)}, "
        f"closed when clear for {format_duration(terms.probe_for)}"
    )
    return [*checks, f"fallbacks: {', '.join(uses)}", times]


def _read_topic() -> Read:
    read = Read()
    asyncio.run(read_topic(load_settings(), "breakers", read.take))
    return read


def _as_json(read: Read, decision: BreakerDecision) -> dict[str, Any]:
    age = read.sign_of_life_s(decision)
    return {
        **decision.model_dump(mode="json"),
        "sign_of_life_s": None if age is None else round(age, 1),
        "stale": read.is_stale(decision),
    }
