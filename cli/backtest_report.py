"""What a backtest tells a person on stderr, and a program in a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from cli.output import write_table
from schemas.metrics import Unread
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.trials.summary import Line
from services.monitor.handlers.backtest import Backtested

_MAX_SHOWN = 20
_BLIND = 0.5
"""A trigger without data for more of the time than this has watched little."""
_MANY_LATE = 0.05
_LATE_IN_FILE = "Sort them (a Parquet file: --by-time)"
_LATE_ON_TOPIC = "BACKOUT_MONITOR__ALLOWED_LATENESS_S is how late they may be, here and in the live service"


class Complaints:
    """Names what could not be read, on stderr, up to a number that a person still reads."""

    def __init__(self, unit: str, *, of_topic: bool = False) -> None:
        self._unit = unit
        self._if_late = _LATE_ON_TOPIC if of_topic else _LATE_IN_FILE
        self.count = 0

    def __call__(self, place: int | str, unread: Unread) -> None:
        self.count += 1
        if self.count <= _MAX_SHOWN:
            item = "" if unread.item is None else f", sample {unread.item}"
            typer.echo(f"{self._unit} {place}{item}: {unread.reason}: {unread.error}", err=True)

    def tell_rest(self) -> None:
        """How many were not named."""
        if self.count > _MAX_SHOWN:
            typer.echo(f"… and {self.count - _MAX_SHOWN} more that could not be read", err=True)

    def summarize(self, found: Backtested) -> None:
        """One line of numbers, and what they may mean."""
        self.tell_rest()
        transitions = sum(1 for _ in found.transitions())
        typer.echo(
            f"{found.samples} samples, {found.late} late, {self.count} unreadable; {transitions} transitions",
            err=True,
        )
        for overflow in found.overflows:
            rule, since = overflow.rule, rfc3339(overflow.at)
            typer.echo(
                f"{rule.place}: {rule.name} has more than {rule.max_groups} groups (`max_groups`): "
                f"{overflow.of} at {since} and every further one are not evaluated",
                err=True,
            )
        if found.late > _MANY_LATE * found.samples:
            typer.echo(
                "Many samples are late: they are not in the order of time, and what comes after its second "
                f"was evaluated changes no decision. {self._if_late}",
                err=True,
            )


def show_summary(lines: Sequence[Line], unseen: Sequence[str] = ()) -> None:
    """The triggers that fired, what each would have rolled back, and those that saw little, or (``unseen``)
    nothing at all."""
    fired = sorted((line for line in lines if line.firings), key=lambda line: -line.firing_s)
    if fired:
        typer.echo("", err=True)
        write_table(
            ["TRIGGER", "GROUP", "FIRED", "FIRING", "LONGEST", "TOO SHORT", "NO DATA"],
            [_row(line) for line in fired[:_MAX_SHOWN]],
            file=sys.stderr,
        )
        if len(fired) > _MAX_SHOWN:
            typer.echo(f"… and {len(fired) - _MAX_SHOWN} more that fired", err=True)
        typer.echo("\nAsked for:", err=True)
        asked = sorted(
            ((firing.fired, line, firing) for line in fired for firing in line.firings),
            key=lambda entry: (entry[0], entry[1].trigger, entry[1].of),
        )
        for at, line, firing in asked[:_MAX_SHOWN]:
            lasted = (
                "still firing at the end" if firing.still else f"firing {format_duration(firing.seconds)}"
            )
            how = ", without gates" if firing.immediate else ""
            words = (
                f"  {rfc3339(at)}  {firing.action.kind} {firing.action.target}{how}  "
                f"by {line.trigger} of {line.of}, {lasted}"
            )
            typer.echo(words, err=True)
        if len(asked) > _MAX_SHOWN:
            typer.echo(f"  … and {len(asked) - _MAX_SHOWN} more", err=True)
    quiet = [line for line in lines if not line.firings]
    short = sum(1 for line in quiet if line.pending)
    names, groups = {line.trigger for line in lines}, f", in {len(fired)} of {len(lines)} groups"
    typer.echo(
        f"\n{len({line.trigger for line in fired})} of {len(names)} triggers fired"
        + (groups if len(lines) > len(names) else "")
        + (f"; {short} more had breaches that ended too soon" if short else ""),
        err=True,
    )
    if unseen:
        typer.echo(f"{', '.join(unseen)}: no sample of theirs in the input", err=True)
    _show_blind(lines)


def _show_blind(lines: Sequence[Line]) -> None:
    blind = [line for line in lines if line.without_data > _BLIND * line.watched]
    for line in blind[:_MAX_SHOWN]:
        share = _percent(line)
        typer.echo(f"{line.trigger} of {line.of} had no data for {share} of the time", err=True)
    if len(blind) > _MAX_SHOWN:
        typer.echo(f"… and {len(blind) - _MAX_SHOWN} more that had none for most of it", err=True)


def _row(line: Line) -> list[object]:
    return [
        line.trigger,
        line.of,
        len(line.firings),
        format_duration(line.firing_s),
        format_duration(line.longest_s),
        line.pending,
        _percent(line),
    ]


def _percent(line: Line) -> str:
    return f"{100 * line.without_data / line.watched:.1f} %" if line.watched else "-"


def summary_json(
    found: Backtested, lines: Sequence[Line], unreadable: int, unseen: Sequence[str] = ()
) -> dict[str, Any]:
    """The summary for programs."""
    return {
        "samples": found.samples,
        "late": found.late,
        "unreadable": unreadable,
        "transitions": sum(1 for _ in found.transitions()),
        "overflows": [
            {"trigger": each.rule.name, "group": each.of.as_mapping(), "at": rfc3339(each.at)}
            for each in found.overflows
        ],
        "triggers": [line.as_json() for line in lines],
        "without_samples": list(unseen),
    }
