"""``backout triggers``: check, test and explain trigger files, and run them over recorded samples."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from heapq import merge
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from chassis.errors import UsageError
from chassis.settings import load_settings
from chassis.yaml_source import load_yaml_file
from cli.backtest_input import (
    AssumeUtcOption,
    ByTimeOption,
    RecordedFiles,
    ReleasesOption,
    ReportsOption,
    Run,
    backtest_file,
    backtest_range,
    is_parquet,
    offsets_of,
)
from cli.backtest_report import Complaints, show_summary, summary_json
from cli.output import Output
from cli.predictions import HELP, Wanted, open_predictions, with_predictions
from cli.times import TIME_HELP, parse_time
from cli.triggers_explain import run_explain
from cli.triggers_list import asked, run_list
from cli.triggers_test import run_tests
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.rule_files import is_for_others
from services.monitor.domain.compound.definitions import CompoundRule, of_members, of_reports
from services.monitor.domain.compound.outcomes import CompoundOutcome, outcome_json
from services.monitor.domain.compound.summary import summarize_compounds
from services.monitor.domain.trials.summary import summarize, without_samples
from services.monitor.handlers.backtest import Backtested, transition_json
from services.monitor.handlers.compound_backtest import backtest_compounds

app = typer.Typer(
    no_args_is_help=True, help="Check, test, list and explain triggers; run them over recorded samples."
)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Trigger files.", show_default=False)],
) -> None:
    """Read trigger files as the monitor would, and say everything that is wrong with them.

    Targets and playbooks are those of the configuration directory (BACKOUT_CONFIG_DIR). Exit
    status 2 with file, line and mend of every mistake.
    """
    settings = load_settings()
    config = load_config(settings.config_dir, files)
    for path in files:
        if is_for_others(load_yaml_file(path)):
            typer.echo(
                f"{path}: holds no triggers; it is the notifier's, which `backout doctor` reads", err=True
            )
    for rule in config.rules:
        asks = f"{rule.action.kind} {rule.action.target}"
        typer.echo(f"{rule.place}: {rule.name}: {asked(rule)} ({rule.severity}) → {asks}")
    for compound in config.compounds:
        asks = f"{compound.action.kind} {compound.action.target}"
        words = compound.condition.words()
        typer.echo(f"{compound.place}: {compound.name}: {words} ({compound.severity}) → {asks}")
    typer.echo(f"{len(config.rules) + len(config.compounds)} triggers, no mistakes")


@app.command()
def backtest(
    rules: Annotated[
        list[Path], typer.Option("--rules", metavar="FILE", help="A trigger file; may be repeated.")
    ],
    more_rules: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE", help="Further trigger files.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--input", metavar="SAMPLES", help="JSON lines (- is stdin) or a Parquet file."),
    ] = None,
    releases: ReleasesOption = None,
    reports: ReportsOption = None,
    from_topic: Annotated[
        bool,
        typer.Option(
            "--from-topic", help="Read the topics instead (metrics, reports), as far as they go now."
        ),
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"From the topic: what was appended from then on; {TIME_HELP}."),
    ] = None,
    from_offset: Annotated[
        list[str] | None,
        typer.Option(metavar="[PARTITION:]OFFSET", help="From the topic: from there on; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to write; otherwise stdout.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Leave out what is later, let time pass until then; the topic: what was appended before.",
        ),
    ] = None,
    by_time: ByTimeOption = False,
    assume_utc: AssumeUtcOption = False,
    summary: Annotated[bool, typer.Option(help="Print a summary for people on stderr.")] = True,
    summary_file: Annotated[
        Path | None, typer.Option("--summary-json", metavar="FILE", help="Write the summary for programs.")
    ] = None,
    progress: Annotated[bool, typer.Option(help="Show progress, if stderr is a terminal.")] = True,
    predictions: Annotated[Wanted | None, typer.Option(help=HELP)] = None,
) -> None:
    """Run triggers over recorded samples and write one JSON object a change of phase.

    A file is read as if partitioned by component, each sample appended at its own time. Lines
    and rows that cannot be read are named on stderr and passed over; exit status 1 if there are
    some and none can be read. BACKOUT_MONITOR__ALLOWED_LATENESS_S holds as in the live service.
    """
    settings = load_settings()
    if (samples is None) is not from_topic:
        raise UsageError("give either --input FILE or --from-topic")
    if output is not None and str(output) in [*Output]:
        # With other commands it is the form of the answer: a file of that name is nobody's wish.
        raise UsageError(f"--output {output}: here it names a file; what is written is JSON lines already")
    begin = None if since is None else parse_time("--since", since)
    end = None if until is None else parse_time("--until", until)
    offsets = offsets_of(from_offset or [])
    if begin is not None and offsets:
        raise UsageError("give --since or --from-offset, not both")
    if from_topic and (releases or reports):
        raise UsageError("--releases and --reports are for --input: the topics have their own")
    files = [*rules, *(more_rules or [])]
    config = load_config(settings.config_dir, files)
    predicted = open_predictions(settings.config_dir, files, predictions)
    if samples is not None:
        if begin is not None or offsets:
            raise UsageError("--since and --from-offset are for --from-topic")
        told = Complaints("row" if is_parquet(samples) else "line")
        lateness = settings.monitor.allowed_lateness_s
        found = backtest_file(
            RecordedFiles(samples, releases, reports, by_time=by_time, assume_utc=assume_utc),
            Run(config.rules, lateness, end, told, progress, predicted),
        )
    else:
        told = Complaints("offset", of_topic=True)
        found = asyncio.run(
            backtest_range(
                settings,
                config.rules,
                told,
                since=begin,
                until=end,
                from_offsets=offsets,
                progress=progress,
                predicted=predicted,
                on_report=Complaints("report at offset") if of_reports(config.compounds) else None,
            )
        )
        end = time.time() if end is None else end
    compound = backtest_compounds(config.compounds, found, until=end)
    with _writer(output) as file:
        for shown in with_predictions(_transitions(found, compound), predicted):
            file.write(json.dumps(shown) + "\n")
    told.summarize(found)
    judged = config.compounds
    if not (from_topic or reports or found.reports):
        judged = of_members(judged)
        _tell_of_reports(config.compounds)
    lines = summarize(found.outcomes, found.watched, config.targets, found.through)
    unseen = without_samples(config.rules, lines)
    lines += summarize_compounds(judged, compound, max(found.through.values(), default=0))
    if summary_file is not None:
        with _writer(summary_file) as file:
            file.write(json.dumps(summary_json(found, lines, told.count, unseen), indent=2) + "\n")
    if summary and (found.samples or compound):
        show_summary(lines, unseen)
    if told.count and not found.samples:
        raise typer.Exit(1)


def _transitions(
    found: Backtested, compound: Sequence[CompoundOutcome]
) -> Iterator[tuple[float, dict[str, Any]]]:
    """Changes of phase with their times; of one second those of compound triggers come last."""
    told = ((outcome.at, transition_json(outcome)) for outcome in found.transitions())
    then = ((outcome.at, outcome_json(outcome)) for outcome in compound)
    return merge(told, then, key=lambda item: item[0])


def _tell_of_reports(rules: Sequence[CompoundRule]) -> None:
    """What samples cannot show is not passed over in silence."""
    names = ", ".join(rule.name for rule in of_reports(rules))
    if names:
        typer.echo(
            f"{names}: reports decide, and there are none among the samples: not in this backtest. "
            "--reports FILE names them",
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


app.command("test")(run_tests)
app.command("explain")(run_explain)
app.command("list")(run_list)
