"""``backout triggers list``: which triggers are pending or firing now, as the monitors have written it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer

from chassis.kafka import Kafka
from chassis.settings import load_settings
from cli.output import Output, OutputOption, clock, write_json, write_table
from cli.sending import require_topics
from services.monitor.adapters.partition_log import Memory, read_memory
from services.monitor.adapters.topic_range import topic_ends
from services.monitor.domain.breakers.breaker_plan import feeds_breaker
from services.monitor.domain.engine.memory import Remembered
from services.monitor.domain.engine.outcomes import utc
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Rule, trigger_id


class Wanted(StrEnum):
    """The phases that can be asked for: an inactive trigger is not remembered."""

    PENDING = "pending"
    FIRING = "firing"


def run_list(
    phase: Annotated[
        Wanted | None, typer.Option(help="Only those in this phase.", show_default=False)
    ] = None,
    component: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only those of this component.", show_default=False)
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the triggers that are pending or firing; every other one is inactive.

    It is what the monitors have decided and written, and up to which second: without a monitor, or without
    samples, that stands still. Compound triggers are not among them.
    """
    memories = asyncio.run(_read())
    found = [
        each
        for each in _awake(memories.values())
        if (phase is None or each.state.phase == phase) and component in (None, each.of.component)
    ]
    if output is Output.JSON:
        write_json({"triggers": [_as_json(each) for each in found], "partitions": _partitions(memories)})
        return
    if found:
        write_table(
            ("TRIGGER", "GROUP", "PHASE", "SINCE", "CONDITION", "SEVERITY", "ID"),
            (
                (
                    each.rule.name,
                    _in_words(each.of),
                    f"{each.state.phase}, no data" if each.state.silent else each.state.phase,
                    clock(utc(each.state.began)),
                    asked(each.rule),
                    each.rule.severity,
                    trigger_id(each.rule.name, each.of, each.state.began),
                )
                for each in found
            ),
        )
    else:
        typer.echo(f"No trigger is {phase or 'pending or firing'}.")
    typer.echo(_how_far(memories), err=True)


def asked(rule: Rule) -> str:
    """What has to be so for the trigger to fire: the metrics with their condition."""
    if rule.further:
        return rule.condition
    return f"{rule.metric if rule.to is None else f'{rule.metric} / {rule.to}'} {rule.condition}"


async def _read() -> dict[int, Memory]:
    """What is remembered of each partition of the metrics."""
    kafka = Kafka.of(load_settings(), "cli")
    await require_topics(kafka, "metrics", "trigger-states")
    return {number: await read_memory(kafka, number) for number in sorted(await topic_ends(kafka))}


def _awake(memories: Iterable[Memory]) -> list[Remembered]:
    """Those that fire before those that may, the longest first."""
    found = [
        each
        for memory in memories
        for each in memory.remembered
        if each.state.phase != "inactive" and not feeds_breaker(each.rule)
    ]
    return sorted(found, key=lambda each: (each.state.phase != "firing", each.state.began, each.key))


def _as_json(each: Remembered) -> dict[str, Any]:
    return {
        "trigger": each.rule.name,
        "trigger_id": trigger_id(each.rule.name, each.of, each.state.began),
        "group": each.of.as_mapping(),
        "phase": each.state.phase,
        "no_data": each.state.silent,
        "began": utc(each.state.began),
        "condition": asked(each.rule),
        "severity": each.rule.severity,
    }


def _partitions(memories: dict[int, Memory]) -> list[dict[str, Any]]:
    return [
        {"partition": number, "evaluated_through": None if through is None else utc(through)}
        for number, through in _through(memories)
    ]


def _how_far(memories: dict[int, Memory]) -> str:
    evaluated = [(through, number) for number, through in _through(memories) if through is not None]
    if not evaluated:
        return "Nothing was evaluated yet: no monitor runs, or there are no samples."
    oldest, number = min(evaluated)
    none = len(memories) - len(evaluated)
    more = f"; {none} of {len(memories)} partitions had no sample yet" if none else ""
    return f"Evaluated through {clock(utc(oldest))} (partition {number}) or later{more}."


def _through(memories: dict[int, Memory]) -> Iterable[tuple[int, int | None]]:
    for number, memory in memories.items():
        yield number, None if memory.checkpoint is None else memory.checkpoint.evaluated_through


def _in_words(of: Group) -> str:
    return ", ".join([of.component, *(f"{name}={value}" for name, value in of.labels)])
