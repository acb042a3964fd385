"""``backout triggers explain``: why a trigger fired or did not, and what would have turned it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from chassis.errors import UsageError
from chassis.json_lines import plain_lines
from chassis.kafka import Kafka
from chassis.settings import Settings, load_settings
from cli.backtest_input import (
    AssumeUtcOption,
    ByTimeOption,
    RecordedFiles,
    ReleasesOption,
    ReportsOption,
    is_parquet,
)
from cli.backtest_report import Complaints
from cli.explain_compound import explain_compound_trigger
from cli.explain_question import Asked, RuleQuestion, compound_question, rule_question
from cli.explanation import Account, as_json, show
from cli.output import Output, OutputOption, write_json
from cli.sending import require_topics
from cli.times import TIME_HELP
from schemas.triggers import TriggerEvent
from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.explain_source import (
    Source,
    from_lines,
    from_tables,
    from_topic,
    trigger_events,
    with_releases,
)
from services.monitor.adapters.parquet_samples import ParquetSamples
from services.monitor.domain.engine.intake import MAX_AHEAD_S
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.domain.explaining.explaining import episode, explain
from services.monitor.domain.explaining.recorded import Recorded
from services.monitor.domain.language.durations import parse_duration

_END_OF_TIME = 1 << 40
_A_DAY = 86_400


def run_explain(
    trigger_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="A trigger's id, as events and the backtest name it."),
    ] = None,
    trigger: Annotated[
        str | None, typer.Option("--trigger", metavar="NAME", help="Instead of an id: which trigger,")
    ] = None,
    component: Annotated[
        str | None, typer.Option("--component", metavar="NAME", help="of which component,")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="NAME=VALUE", help="each label that it is grouped by,"),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help=f"at which time ({TIME_HELP}),"),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="or from which time on")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="to which; now, unless given.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--input", metavar="SAMPLES", help="A file, as for backtest, instead of the topic."),
    ] = None,
    releases: ReleasesOption = None,
    reports: ReportsOption = None,
    by_time: ByTimeOption = False,
    assume_utc: AssumeUtcOption = False,
    rules: Annotated[
        list[Path] | None,
        typer.Option("--rules", metavar="FILE", help="Trigger files; otherwise those that are configured."),
    ] = None,
    look_back: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long before the breach to begin to read, at least."),
    ] = "30m",
    output: OutputOption = Output.TABLE,
) -> None:
    """Say why a trigger fired or did not: the samples it saw, what it compared them with, how long
    it lasted, and the nearest change of its definition that would have turned it. Of a compound trigger:
    which members fired when, and which one was missing.

    Reads the metrics topic around the breach (or --input) and runs the engine on it again, with the
    trigger as it is configured now; of a compound trigger, the topic of its members or reports.
    """
    settings = load_settings()
    config = load_config(settings.config_dir, rules or settings.monitor.rules)
    asked = Asked(trigger_id, trigger, component, tuple(label or ()), at, since, until)
    compound = compound_question(config, asked)
    if samples is None and (releases or reports):
        raise UsageError("--releases and --reports are for --input: the topics have their own")
    if samples is None and (by_time or assume_utc):
        raise UsageError("--by-time and --assume-utc are for --input")
    files = (
        None
        if samples is None
        else RecordedFiles(samples, releases, reports, by_time=by_time, assume_utc=assume_utc)
    )
    if compound is not None:
        explain_compound_trigger(settings, config, compound, files, output)
        return
    question = rule_question(config, asked)
    back = _look_back(look_back)
    if files is None:
        account = asyncio.run(_from_topic(settings, question, back))
    else:
        lateness = settings.monitor.allowed_lateness_s
        account = _account(question, Source(_from_file(files, question, lateness), str(samples)))
    if output is Output.JSON:
        write_json(as_json(account))
    else:
        show(account)


def _look_back(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--look-back {text}: {error}; write it as 30m or 2h") from None


def _from_file(files: RecordedFiles, question: RuleQuestion, lateness: float) -> Recorded:
    path = files.samples
    files.check([question.rule])
    releases = files.read_releases()
    told = Complaints("row" if is_parquet(path) else "line")
    recorded = _samples_of(files, question, lateness, told)
    told.tell_rest()
    return with_releases(recorded, releases)


def _samples_of(files: RecordedFiles, question: RuleQuestion, lateness: float, told: Complaints) -> Recorded:
    path = files.samples
    if is_parquet(path):
        labels = question.rule.selection.labels
        samples = ParquetSamples(path, assume_utc=files.assume_utc, labels=labels)
        tables = samples.tables(told, by_time=files.by_time)
        return from_tables(tables, question.rule, question.group, lateness)
    try:
        with path.open("rb") as file:
            return from_lines(plain_lines(file, str(path)), question.rule, question.group, lateness, told)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


async def _from_topic(settings: Settings, question: RuleQuestion, look_back: int) -> Account:
    kafka = Kafka.of(settings, "explain")
    await require_topics(kafka, "metrics", *(() if question.trigger_id is None else ("triggers",)))
    rule, lateness = question.rule, settings.monitor.allowed_lateness_s
    fired: TriggerEvent | None = None
    last_told: int | None = None
    if question.trigger_id is not None:
        events = await trigger_events(kafka, question.trigger_id)
        fired = next((event for event in events if event.kind == "fired"), events[0] if events else None)
        last_told = int(events[-1].at.timestamp()) if events else None
        question = replace(question, event=fired, last_told=last_told)
    widest = max(check.window for check in rule.checks)
    begin = question.first - widest - rule.terms.lasting - look_back
    # A breach that still lasts is looked at for as long as the log goes.
    last = question.last if question.trigger_id is None else _END_OF_TIME
    if last_told is not None and events[-1].kind in ("resolved", "superseded"):
        last = last_told
    reach = question.first - max(_A_DAY, look_back, rule.only_within or 0) - MAX_AHEAD_S

    async def account_from(begin: float) -> Account:
        source = await from_topic(
            kafka, rule, question.group, lateness, begin=begin, last=last, event=fired, releases_since=reach
        )
        return _account(question, source)

    account = await account_from(begin)
    if not rule.has_baseline or fired is None or not _differs(account, fired):
        return account
    # One that breached when a further release came goes on with what it was compared with before.
    further = await account_from(min(begin, reach))
    return account if _differs(further, fired) else further


def _differs(account: Account, event: TriggerEvent) -> bool:
    """Whether the live service, under the same definition, found another value when it fired."""
    explanation = account.explanation
    if event.kind != "fired" or event.value is None or event.rule_hash != explanation.rule.hash:
        return False
    at = int(event.at.timestamp())
    found = next((each.value for each in explanation.changes_of_phase if each.at == at), None)
    return found is None or not math.isclose(found, event.value, rel_tol=1e-9)


def _account(question: RuleQuestion, source: Source) -> Account:
    """The explanation, with what has to be said about where it comes from."""
    rule, notes = question.rule, list(source.missing)
    if question.event is not None and question.event.rule_hash != rule.hash:
        notes.append(
            f"the trigger's definition has changed since: it was decided by {question.event.condition}, "
            "and is explained as it is configured now"
        )
    first, last = question.first, question.last
    if question.trigger_id is not None:
        found = episode(rule, source.recorded, question.trigger_id)
        if found is not None:
            first, last = found
        else:
            notes.append(
                f"over these samples the trigger, as it is defined now, has no breach {question.trigger_id} "
                "that fires"
            )
            last = question.last_told or question.last
    explanation = explain(rule, source.recorded, first, last)
    if explanation.evaluated is None:
        notes.append(f"there is no sample of {question.group.component} to evaluate")
    elif explanation.evaluated < last:
        notes.append("the samples end before that time: later seconds are not evaluated")
    if source.recorded.groups_before >= rule.max_groups:
        notes.append(
            f"{source.recorded.groups_before} other groups of it came before this one, and `max_groups` is "
            f"{rule.max_groups}: the monitor does not evaluate this group, and told nothing of this"
        )
    since = None if question.trigger_id is not None or first == last else first
    account = Account(explanation, question.trigger_id, question.event, source.place, notes, since)
    told = question.event
    if told is not None and told.value is not None and _differs(account, told):
        notes.append(
            f"the live service found {told.value:.10g} when it fired at {rfc3339(int(told.at.timestamp()))}, "
            "and these records lead to something else: what it saw is not all here"
        )
    return account
