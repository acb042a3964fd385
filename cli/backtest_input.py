"""Where a backtest's samples come from: a file of JSON lines, a Parquet file, or the topic."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.settings import Settings
from schemas.metrics import MAX_TIME
from services.monitor.adapters.parquet_samples import ParquetSamples
from services.monitor.adapters.topic_range import backtest_topic, topic_ranges
from services.monitor.domain.language.rules import Rule
from services.monitor.handlers.backtest import (
    Backtested,
    OnProgress,
    OnUnread,
    backtest_lines,
    backtest_tables,
)
from services.monitor.handlers.prediction_backtest import PredictionBacktest

_PARQUET = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Whether the file is one of Parquet, by its first bytes; False where it cannot be read."""
    if str(path) == "-":
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == _PARQUET
    except OSError:
        return False


def backtest_file(
    path: Path,
    rules: Sequence[Rule],
    lateness: float,
    until: float | None,
    told: OnUnread,
    *,
    assume_utc: bool = False,
    by_time: bool = False,
    progress: bool = False,
    predicted: PredictionBacktest | None = None,
) -> Backtested:
    """Run the rules over a file; raises UsageError or ConfigError where it cannot be read."""
    if predicted is not None and until is not None:
        predicted.until = until
    if is_parquet(path):
        labelled = [] if predicted is None else [each for each in predicted.alerts if each.selection.labels]
        if labelled:
            raise UsageError(
                f"{path}: predictions over Parquet read no labels, and {labelled[0].model} needs some. "
                "Use JSON lines, or leave it out"
            )
        waiting = sorted(rule.name for rule in rules if rule.looks_at_releases)
        if waiting:
            raise UsageError(
                f"{path}: Parquet holds no releases, and {', '.join(waiting)} would wait for one. "
                "Use JSON lines, or leave these triggers out"
            )
        labels = frozenset[str]().union(*(rule.selection.labels for rule in rules))
        samples = ParquetSamples(path, assume_utc=assume_utc, labels=labels)
        with progress_bar("rows", samples.rows, enabled=progress) as advance:
            tables = samples.tables(told, by_time=by_time)
            if predicted is not None:
                tables = predicted.watch_tables(tables)
            return backtest_tables(rules, tables, allowed_lateness=lateness, until=until, on_progress=advance)
    if by_time or assume_utc:
        raise UsageError(f"{path} is no Parquet file: --by-time and --assume-utc are for those")
    if str(path) == "-":
        lines = _watched(sys.stdin.buffer, predicted)
        return backtest_lines(rules, lines, allowed_lateness=lateness, until=until, on_unread=told)
    try:
        with (
            path.open("rb") as file,
            progress_bar("bytes", path.stat().st_size, enabled=progress) as advance,
        ):
            lines = _watched(file, predicted)
            return backtest_lines(
                rules, lines, allowed_lateness=lateness, until=until, on_unread=told, on_progress=advance
            )
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


async def backtest_range(
    settings: Settings,
    rules: Sequence[Rule],
    told: OnUnread,
    *,
    since: float | None,
    until: float | None,
    from_offsets: dict[int | None, int],
    progress: bool,
    predicted: PredictionBacktest | None,
) -> Backtested:
    """Run the rules over a range of the metrics topic, by append time or offset."""
    kafka = Kafka.of(settings, "backtest")
    ranges = await topic_ranges(kafka, since=since, until=until, from_offsets=from_offsets)
    with progress_bar(
        "records", sum(end - begin for begin, end in ranges.values()), enabled=progress
    ) as advance:
        return await backtest_topic(
            kafka,
            rules,
            allowed_lateness=settings.monitor.allowed_lateness_s,
            on_unread=told,
            ranges=ranges,
            on_progress=advance,
            predicted=predicted,
        )


def _watched(lines: Iterable[bytes], predicted: PredictionBacktest | None) -> Iterable[bytes]:
    return lines if predicted is None else predicted.watch(lines)


@contextlib.contextmanager
def progress_bar(unit: str, total: int, *, enabled: bool) -> Iterator[OnProgress | None]:
    """A bar on stderr where that is a terminal (NO_COLOR leaves out the colours); else nothing."""
    console = Console(stderr=True)
    if not (enabled and console.is_terminal and total):
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(unit, total=total)
        yield lambda more: bar.advance(task, more)


def offsets_of(texts: Sequence[str]) -> dict[int | None, int]:
    """``OFFSET`` for all partitions, or ``PARTITION:OFFSET`` for one; raises UsageError."""
    found: dict[int | None, int] = {}
    for text in texts:
        partition, _, offset = text.rpartition(":")
        if not (offset.isdecimal() and (partition.isdecimal() or ":" not in text)):
            raise UsageError(f"--from-offset {text}: write OFFSET, or PARTITION:OFFSET, as in 0:1500")
        found[int(partition) if partition else None] = int(offset)
    return found


def parse_time(option: str, text: str) -> float:
    """RFC 3339 with an offset, or epoch seconds, as epoch seconds within the years of a sample."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = _parse_rfc3339(option, text)
    if not 0.0 <= seconds <= MAX_TIME:
        raise UsageError(f"{option} {text}: outside the years 1970 to 9999; write epoch seconds, if a number")
    return seconds


def _parse_rfc3339(option: str, text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text}: write 2026-01-01T00:00:00Z or epoch seconds") from None
    if time.tzinfo is None:
        raise UsageError(f"{option} {text}: name the offset from UTC, as in {text}Z")
    return time.astimezone(UTC).timestamp()
