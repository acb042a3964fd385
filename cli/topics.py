"""``backout topics``: the topics as they are defined, and how far the consumers have come."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from chassis.kafka import Kafka
from chassis.kafka_admin import (
    GroupPartition,
    GroupReport,
    TopicReport,
    TopicState,
    ensure_topics,
    inspect_groups,
    inspect_topics,
)
from chassis.settings import load_settings
from cli.foreign_topics import create_foreign_topics, missing_foreign_topics
from cli.output import Output, OutputOption, write_json, write_table
from schemas.topics import all_topics

app = typer.Typer(no_args_is_help=True, help="Create and inspect the topics; see consumers and their lag.")

_DONE = {
    TopicState.MISSING: "created",
    TopicState.AS_DEFINED: "unchanged",
    TopicState.CONFIG_DIFFERS: "settings put right",
}


@app.command()
def init(
    output: OutputOption = Output.TABLE,
    replication: Annotated[
        int, typer.Option(help="Replicas of a new topic; -1 takes the broker's default.")
    ] = -1,
    ingest: Annotated[
        bool, typer.Option("--ingest", help="Create missing topics of other systems, too, that ingest reads.")
    ] = False,
) -> None:
    """Create the topics that are missing, and put right the settings that have drifted.

    Safe to run again. A topic with another number of partitions is refused: exit 1, nothing changed.
    """
    settings = load_settings()
    kafka = Kafka.of(settings, "cli")
    reports = asyncio.run(ensure_topics(kafka, replication=replication))
    foreign = settings.monitor.ingest
    if ingest:
        for name in asyncio.run(create_foreign_topics(kafka, foreign)):
            typer.echo(f"created {name}, which ingest reads, with one partition", err=True)
    for name in asyncio.run(missing_foreign_topics(kafka, foreign)):
        typer.echo(
            f"there is no topic {name!r}, which ingest reads, and the monitor does not start without it: let "
            "the other system create it, or run `backout topics init --ingest`",
            err=True,
        )
    if output is Output.JSON:
        write_json([{**_topic_json(kafka, report), "done": _DONE[report.state]} for report in reports])
        return
    write_table(
        ("TOPIC", "PARTITIONS", "DONE", "CHANGED"),
        ((kafka.topic(r.id), r.partitions, _DONE[r.state], _changes(r)) for r in reports),
    )


@app.command("list")
def list_topics(output: OutputOption = Output.TABLE) -> None:
    """Show every topic: what it is for, who writes and reads it, and whether it is as defined."""
    kafka = _kafka()
    reports = asyncio.run(inspect_topics(kafka))
    if output is Output.JSON:
        write_json([_topic_json(kafka, report) for report in reports])
        return
    write_table(
        ("TOPIC", "PARTITIONS", "STATE", "KEY", "PRODUCERS", "CONSUMERS"),
        (
            (
                kafka.topic(report.id),
                report.partitions,
                report.state if not report.differences else f"{report.state}: {_changes(report)}",
                topic.key,
                ",".join(topic.producers) or None,
                ",".join(topic.consumers) or None,
            )
            for report, topic in ((report, all_topics()[report.id]) for report in reports)
        ),
    )


@app.command()
def lag(
    output: OutputOption = Output.TABLE,
    group: Annotated[str, typer.Option(help="Only groups whose name begins so.")] = "",
    all_groups: Annotated[bool, typer.Option("--all", help="Groups outside this namespace too.")] = False,
) -> None:
    """Show every consumer group: state, members, and by partition what is committed and what is left."""
    kafka = _kafka()
    prefix = group or ("" if all_groups else kafka.group(""))
    reports = asyncio.run(inspect_groups(kafka, prefix=prefix))
    if output is Output.JSON:
        write_json([_group_json(report) for report in reports])
        return
    if not reports:
        typer.echo(f"No consumer group's name begins with {prefix!r}; services make theirs when they start.")
        return
    headings = ("GROUP", "STATE", "MEMBER", "TOPIC", "PARTITION", "COMMITTED", "END", "LAG")
    write_table(headings, (row for report in reports for row in _group_rows(report)))


def _kafka() -> Kafka:
    return Kafka.of(load_settings(), "cli")


def _changes(report: TopicReport) -> str | None:
    return "; ".join(f"{key} {has} -> {new}" for key, (has, new) in report.differences.items()) or None


def _topic_json(kafka: Kafka, report: TopicReport) -> dict[str, object]:
    return {
        "id": report.id,
        "name": kafka.topic(report.id),
        "purpose": all_topics()[report.id].purpose,
        "partitions": report.partitions,
        "state": report.state,
        "differences": {key: {"is": has, "defined": new} for key, (has, new) in report.differences.items()},
    }


def _group_json(report: GroupReport) -> dict[str, object]:
    return {
        "group": report.name,
        "state": report.state,
        "members": list(report.members),
        "lag": sum(part.lag for part in report.partitions if part.lag is not None),
        "partitions": [_partition_json(part) for part in report.partitions],
    }


def _partition_json(part: GroupPartition) -> dict[str, object]:
    return {
        "topic": part.topic,
        "partition": part.partition,
        "member": part.member,
        "committed": part.committed,
        "end": part.end,
        "lag": part.lag,
    }


def _group_rows(report: GroupReport) -> list[tuple[object, ...]]:
    if not report.partitions:
        members = ",".join(report.members) or None
        return [(report.name, report.state, members, None, None, None, None, None)]
    return [
        (
            report.name,
            report.state,
            part.member,
            part.topic,
            part.partition,
            part.committed,
            part.end,
            part.lag,
        )
        for part in report.partitions
    ]
