"""``backout triggers``: check trigger files, and run them over recorded samples."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TextIO

import typer

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.settings import Settings, load_settings
from cli.predictions import HELP, Wanted, open_predictions, with_predictions
from schemas.metrics import MAX_TIME, Unread
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.topic_range import backtest_topic
from services.monitor.domain.rules import Rule
from services.monitor.handlers.backtest import Backtested, backtest_lines, transition_json
from services.monitor.handlers.prediction_backtest import PredictionBacktest

app = typer.Typer(no_args_is_help=True, help="Check trigger files; run triggers over recorded samples.")

_MAX_SHOWN = 20


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Trigger files.", show_default=False)],
) -> None:
    """Read trigger files as the monitor would, and say everything that is wrong with them.

    Targets and playbooks are those of the configuration directory (BACKOUT_CONFIG_DIR). Exit
    status 2 with file, line and mend of every mistake.
    """
    settings = load_settings()
    config = load_config(settings.config_dir, files)
    for rule in config.rules:
        typer.echo(f"{rule.place}: {rule.name}: {rule.metric} {rule.condition} ({rule.severity})")
    typer.echo(f"{len(config.rules)} triggers, no mistakes")


@app.command()
def backtest(
    rules: Annotated[
        list[Path], typer.Option("--rules", metavar="FILE", help="A trigger file; may be repeated.")
    ],
    more_rules: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE…]", help="Further trigger files.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--input", metavar="SAMPLES.jsonl", help="JSON lines; - is stdin."),
    ] = None,
    from_topic: Annotated[
        bool, typer.Option("--from-topic", help="Read the metrics topic instead, as far as it goes now.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to write; otherwise stdout.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Let time pass until then after the last sample (a clock record)."),
    ] = None,
    predictions: Annotated[Wanted | None, typer.Option(help=HELP)] = None,
) -> None:
    """Run triggers over recorded samples and write one JSON object a change of phase.

    A file is read as if partitioned by component, each sample appended at its own time. Lines
    that cannot be read are named on stderr and passed over; exit status 1 if there are lines and
    none can be read. BACKOUT_MONITOR__ALLOWED_LATENESS_S holds as in the live service.
    """
    settings = load_settings()
    if (samples is None) is not from_topic:
        raise UsageError("give either --input FILE or --from-topic")
    end = None if until is None else _parse_time(until)
    files = [*rules, *(more_rules or [])]
    loaded = load_config(settings.config_dir, files).rules
    predicted = open_predictions(settings.config_dir, files, predictions)
    told = _Complaints("offset" if samples is None else "line")
    if samples is None:
        if end is not None:
            raise UsageError("--until is for --input: a topic has clock records of its own")
        found = asyncio.run(_from_topic(settings, loaded, told, predicted))
    else:
        found = _from_file(samples, settings, loaded, end, told, predicted)
    with _writer(output) as file:
        transitions = ((outcome.at, transition_json(outcome)) for outcome in found.transitions())
        for shown in with_predictions(transitions, predicted):
            file.write(json.dumps(shown) + "\n")
    told.summarize(found)
    if told.count and not found.samples:
        raise typer.Exit(1)


def _from_file(
    path: Path,
    settings: Settings,
    rules: Sequence[Rule],
    until: float | None,
    told: _Complaints,
    predicted: PredictionBacktest | None,
) -> Backtested:
    lateness = settings.monitor.allowed_lateness_s
    if str(path) == "-":
        lines = _watched(sys.stdin.buffer, predicted)
        return backtest_lines(rules, lines, allowed_lateness=lateness, until=until, on_unread=told)
    try:
        with path.open("rb") as file:
            lines = _watched(file, predicted)
            return backtest_lines(rules, lines, allowed_lateness=lateness, until=until, on_unread=told)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _watched(lines: Iterable[bytes], predicted: PredictionBacktest | None) -> Iterable[bytes]:
    return lines if predicted is None else predicted.watch(lines)


async def _from_topic(
    settings: Settings, rules: Sequence[Rule], told: _Complaints, predicted: PredictionBacktest | None
) -> Backtested:
    kafka = Kafka.of(settings, "backtest")
    lateness = settings.monitor.allowed_lateness_s
    on_record = None if predicted is None else predicted.take
    return await backtest_topic(kafka, rules, allowed_lateness=lateness, on_unread=told, on_record=on_record)


class _Complaints:
    """Names what could not be read, on stderr, up to a number that a person still reads."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self.count = 0

    def __call__(self, place: int, unread: Unread) -> None:
        self.count += 1
        if self.count <= _MAX_SHOWN:
            item = "" if unread.item is None else f", sample {unread.item}"
            typer.echo(f"{self._unit} {place}{item}: {unread.reason}: {unread.error}", err=True)

    def summarize(self, found: Backtested) -> None:
        if self.count > _MAX_SHOWN:
            typer.echo(f"… and {self.count - _MAX_SHOWN} more that could not be read", err=True)
        transitions = sum(1 for _ in found.transitions())
        typer.echo(
            f"{found.samples} samples, {found.late} late, {self.count} unreadable; {transitions} transitions",
            err=True,
        )


@contextmanager
def _writer(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears only when it is whole."""
    if output is None:
        yield sys.stdout
        return
    part = output.with_name(output.name + ".part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
        part.replace(output)
    except OSError as error:
        raise UsageError(f"cannot write {output}: {(error.strerror or str(error)).lower()}") from error


def _parse_time(text: str) -> float:
    """RFC 3339 with an offset, or epoch seconds, as epoch seconds within the years of a sample."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = _parse_rfc3339(text)
    if not 0.0 <= seconds <= MAX_TIME:
        raise UsageError(f"--until {text}: outside the years 1970 to 9999; write epoch seconds, if a number")
    return seconds


def _parse_rfc3339(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--until {text}: write 2026-01-01T00:00:00Z or epoch seconds") from None
    if time.tzinfo is None:
        raise UsageError(f"--until {text}: name the offset from UTC, as in {text}Z")
    return time.astimezone(UTC).timestamp()
