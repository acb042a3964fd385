"""``backout predictions``: which alerts are open, and whether those of the past came true."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from chassis.kafka import Record
from chassis.settings import load_settings
from cli.output import Output, OutputOption, clock, write_json, write_table
from cli.reading import read_topic
from schemas.predictions import PredictionEvent
from schemas.registry import UnreadableEvent, read_event
from services.monitor.domain.prediction.raised import in_words

app = typer.Typer(no_args_is_help=True, help="Predictive alerts: list them, and see how many came true.")


@dataclass
class _Read:
    """The topic as far as it is kept: the newest event of each alert, in the order of their raising."""

    alerts: dict[str, PredictionEvent] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        try:
            data = read_event(record.value).data
        except UnreadableEvent as error:
            typer.echo(f"{record.topic} at offset {record.offset}: {error}", err=True)
            return
        if not isinstance(data, PredictionEvent):
            return
        known = self.alerts.get(data.prediction_id)
        if known is None or known.kind == "raised":
            self.alerts[data.prediction_id] = data


@app.command("list")
def list_alerts(
    ended: Annotated[bool, typer.Option("--all", help="Those that have ended, too.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the predictive alerts that are open: what is expected to breach, until when, how probably."""
    found = [each for each in _read_topic().alerts.values() if ended or each.kind == "raised"]
    if output is Output.JSON:
        write_json([each.model_dump(mode="json") for each in found])
        return
    if not found:
        typer.echo("No open alerts." if not ended else "No alerts.")
        return
    write_table(
        ("COMPONENT", "MODEL", "EXPECTED", "PROBABILITY", "RAISED", "UNTIL", "STATE"),
        (
            (
                ", ".join(each.group.values()),
                each.model,
                f"{each.metric} {each.condition}",
                in_words(each.probability),
                clock(each.raised_at),
                clock(each.until),
                "open" if each.kind == "raised" else each.kind.replace("_", " "),
            )
            for each in found
        ),
    )


@app.command()
def score(output: OutputOption = Output.TABLE) -> None:
    """Say for each model how many of its alerts came true: whether to trust it.

    Precision counts those that came true among those that did or did not; withdrawn ones and those
    without data count as neither.
    """
    tallies: dict[str, Counter[str]] = {}
    for each in _read_topic().alerts.values():
        tallies.setdefault(each.model, Counter())[each.kind] += 1
    lines = [_line(model, tallies[model]) for model in sorted(tallies)]
    if output is Output.JSON:
        write_json(lines)
        return
    headings = ("MODEL", "RAISED", "CAME TRUE", "NOT COME TRUE", "WITHDRAWN", "NO DATA", "OPEN", "PRECISION")
    names = [heading.lower().replace(" ", "_") for heading in headings]
    write_table(headings, ([line[name] for name in names] for line in lines))


def _line(model: str, tally: Counter[str]) -> dict[str, Any]:
    judged = tally["came_true"] + tally["not_come_true"]
    return {
        "model": model,
        "raised": tally.total(),
        "came_true": tally["came_true"],
        "not_come_true": tally["not_come_true"],
        "withdrawn": tally["withdrawn"],
        "no_data": tally["no_data"],
        "open": tally["raised"],
        "precision": round(tally["came_true"] / judged, 3) if judged else None,
    }


def _read_topic() -> _Read:
    read = _Read()
    asyncio.run(read_topic(load_settings(), "predictions", read.take))
    return read
