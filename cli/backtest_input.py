"""Where a backtest's samples come from: a file of JSON lines, a Parquet file, or the topic."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
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
from chassis.json_lines import plain_lines
from chassis.kafka import Kafka
from chassis.settings import Settings
from cli.sending import require_topics
from schemas.metrics import Release
from services.monitor.adapters.parquet_samples import ParquetSamples
from services.monitor.adapters.recorded_releases import releases_of_lines, releases_of_parquet
from services.monitor.adapters.recorded_reports import reports_of_lines, reports_of_topic
from services.monitor.adapters.topic_range import appended_first, backtest_topic, topic_ranges
from services.monitor.domain.language.rules import Rule
from services.monitor.handlers.backtest import (
    Backtested,
    OnProgress,
    OnUnread,
    backtest_lines,
    backtest_tables,
)
from services.monitor.handlers.prediction_backtest import PredictionBacktest
from services.monitor.handlers.recorded_reports import RecordedReport

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


ReleasesOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Releases for --input: JSON lines or a Parquet file.")
]
ReportsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Reports for --input: JSON lines of events.")
]
ByTimeOption = Annotated[
    bool, typer.Option("--by-time", help="Parquet: put the rows in the order of their times first.")
]
AssumeUtcOption = Annotated[
    bool, typer.Option("--assume-utc", help="Parquet: take timestamps without a time zone for UTC.")
]


@dataclass(frozen=True, slots=True)
class RecordedFiles:
    """Samples, and, if they are in files of their own, the releases and the reports. ``by_time`` and
    ``assume_utc`` say how a Parquet file is read."""

    samples: Path
    releases: Path | None = None
    reports: Path | None = None
    by_time: bool = False
    assume_utc: bool = False

    def check(self, rules: Sequence[Rule]) -> None:
        """Raises UsageError for options that do not fit the files, and triggers that would wait in vain."""
        is_columns = is_parquet(self.samples)
        if self.by_time and not is_columns:
            raise UsageError(f"{self.samples} is no Parquet file: --by-time is for those")
        of_releases = self.releases is not None and is_parquet(self.releases)
        if self.assume_utc and not (is_columns or of_releases):
            raise UsageError(f"{self.samples} is no Parquet file: --assume-utc is for those")
        waiting = sorted(rule.name for rule in rules if rule.looks_at_releases)
        if is_columns and waiting and self.releases is None:
            raise UsageError(
                f"{self.samples}: Parquet holds no releases, and {', '.join(waiting)} would wait for one. "
                "Give them with --releases FILE, or leave these triggers out"
            )

    def read_releases(self) -> list[Release]:
        if self.releases is None:
            return []
        if is_parquet(self.releases):
            return releases_of_parquet(self.releases, assume_utc=self.assume_utc)
        return releases_of_lines(self.releases)

    def read_reports(self) -> list[RecordedReport]:
        return [] if self.reports is None else reports_of_lines(self.reports)


@dataclass(frozen=True, slots=True)
class Run:
    """What is run over the samples: triggers, until when (epoch seconds; None: as far as they go), and
    predictions. ``told`` hears of what cannot be read."""

    rules: Sequence[Rule]
    lateness: float
    until: float | None
    told: OnUnread
    progress: bool = False
    predicted: PredictionBacktest | None = None

    def over_lines(
        self, lines: Iterable[bytes], files: RecordedFiles, advance: OnProgress | None
    ) -> Backtested:
        if self.predicted is not None:
            lines = self.predicted.watch(lines)
        return backtest_lines(
            self.rules,
            lines,
            allowed_lateness=self.lateness,
            until=self.until,
            releases=files.read_releases(),
            on_unread=self.told,
            on_progress=advance,
        )

    def over_parquet(self, files: RecordedFiles) -> Backtested:
        labels = frozenset[str]().union(*(rule.selection.labels for rule in self.rules))
        if self.predicted is not None:
            labels = labels.union(*(alert.selection.labels for alert in self.predicted.alerts))
        releases = files.read_releases()
        samples = ParquetSamples(files.samples, assume_utc=files.assume_utc, labels=labels)
        with progress_bar("rows", samples.rows, enabled=self.progress) as advance:
            tables = samples.tables(self.told, by_time=files.by_time)
            if self.predicted is not None:
                tables = self.predicted.watch_tables(tables)
            return backtest_tables(
                self.rules,
                tables,
                allowed_lateness=self.lateness,
                until=self.until,
                releases=releases,
                on_progress=advance,
            )


def backtest_file(files: RecordedFiles, run: Run) -> Backtested:
    """Run over files; raises UsageError, ConfigError or ConfigErrors where one cannot be read."""
    files.check(run.rules)
    reports = files.read_reports()
    if run.predicted is not None and run.until is not None:
        run.predicted.until = run.until
    found = run.over_parquet(files) if is_parquet(files.samples) else _over_lines(files, run)
    every = sorted([*found.reports, *reports], key=lambda each: each.read)
    return replace(found, reports=[each for each in every if run.until is None or each.read <= run.until])


def _over_lines(files: RecordedFiles, run: Run) -> Backtested:
    path = files.samples
    if str(path) == "-":
        return run.over_lines(plain_lines(sys.stdin.buffer, "standard input"), files, None)
    try:
        with (
            path.open("rb") as file,
            progress_bar("bytes", path.stat().st_size, enabled=run.progress) as advance,
        ):
            return run.over_lines(plain_lines(file, str(path)), files, advance)
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
    on_report: OnUnread | None,
) -> Backtested:
    """Run the rules over a range of the metrics topic, by append time or offset. The reports of the same
    time are read where ``on_report`` is told of those that cannot be."""
    kafka = Kafka.of(settings, "backtest")
    await require_topics(kafka, "metrics", *(() if on_report is None else ("reports",)))
    ranges = await topic_ranges(kafka, since=since, until=until, from_offsets=from_offsets)
    with progress_bar(
        "records", sum(end - begin for begin, end in ranges.values()), enabled=progress
    ) as advance:
        found = await backtest_topic(
            kafka,
            rules,
            allowed_lateness=settings.monitor.allowed_lateness_s,
            on_unread=told,
            ranges=ranges,
            on_progress=advance,
            predicted=predicted,
        )
    if on_report is None:
        return found
    begin = since if since is not None or not from_offsets else await appended_first(kafka, ranges)
    reports = await reports_of_topic(kafka, since=begin, until=until, on_unread=on_report)
    return replace(found, reports=reports)


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
