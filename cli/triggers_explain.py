"""``backout triggers explain``: why a trigger fired or did not, and what would have turned it."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from chassis.errors import UsageError
from chassis.kafka import Kafka
from chassis.settings import Settings, load_settings
from cli.backtest_input import is_parquet, parse_time
from cli.explanation import Account, as_json, show
from cli.output import Output, OutputOption, write_json
from schemas.triggers import TriggerEvent
from services.monitor.adapters.config_directory import MonitorConfig, load_config
from services.monitor.adapters.explain_source import (
    GroupWanted,
    Source,
    from_lines,
    from_tables,
    from_topic,
    trigger_events,
)
from services.monitor.adapters.parquet_samples import ParquetSamples
from services.monitor.domain.engine.intake import MAX_AHEAD_S
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.domain.explaining.explaining import episode, explain
from services.monitor.domain.explaining.recorded import Recorded
from services.monitor.domain.language.durations import parse_duration
from services.monitor.domain.language.rules import Rule

_ID = re.compile(r"(?P<trigger>[^:]+):(?P<component>[^:]+):(?P<began>\d{8}T\d{6}Z)")
_WITH_DIGEST = re.compile(r"(?P<component>.+)-(?P<digest>[0-9a-f]{8})")
_END_OF_TIME = 1 << 40
_A_DAY = 86_400
_RELEASES_BACK = 4
"""So many of the releases before a breach are tried as what its baseline was fixed by."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Which trigger, and either the id of its breach or the second to look at."""

    rule: Rule
    group: GroupWanted
    trigger_id: str | None
    at: int
    event: TriggerEvent | None = None
    last_told: int | None = None


def run_explain(
    trigger_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A trigger's id, as events and the backtest name it."),
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
        str | None, typer.Option("--at", metavar="TIME", help="at which time it fires or does not.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option("--input", metavar="SAMPLES", help="A file, as for backtest, instead of the topic."),
    ] = None,
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
    it lasted, and the nearest change of its definition that would have turned it.

    Reads the metrics topic around the breach (or --input) and runs the engine on it again, with the
    trigger as it is configured now.
    """
    settings = load_settings()
    config = load_config(settings.config_dir, rules or settings.monitor.rules)
    question = _question(config, trigger_id, trigger, component, label or [], at)
    back = _look_back(look_back)
    if samples is None:
        account = asyncio.run(_from_topic(settings, question, back))
    else:
        lateness = settings.monitor.allowed_lateness_s
        account = _account(question, Source(_from_file(samples, question, lateness), str(samples)))
    if output is Output.JSON:
        write_json(as_json(account))
    else:
        show(account)


def _question(
    config: MonitorConfig,
    trigger_id: str | None,
    trigger: str | None,
    component: str | None,
    labels: Sequence[str],
    at: str | None,
) -> _Question:
    if trigger_id is not None:
        if trigger or component or labels or at:
            raise UsageError("give either an id or --trigger, --component, --label and --at")
        match = _ID.fullmatch(trigger_id)
        if match is None:
            example = "response_time_p95:pdf_extraction:20260101T000000Z"
            raise UsageError(f"{trigger_id}: not a trigger's id; one is {example}")
        began = datetime.strptime(match["began"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        rule = _rule(config, match["trigger"])
        group = _group_of_id(rule, match["component"], trigger_id)
        return _Question(rule, group, trigger_id, int(began.timestamp()))
    if trigger is None or component is None or at is None:
        raise UsageError("give an id, or --trigger, --component and --at")
    rule = _rule(config, trigger)
    group = GroupWanted(component, _labels(rule, labels))
    return _Question(rule, group, None, int(parse_time("--at", at)))


def _group_of_id(rule: Rule, name: str, trigger_id: str) -> GroupWanted:
    """The component, which a digest of the group's labels follows if there are some."""
    if not rule.selection.group_by:
        return GroupWanted(name)
    match = _WITH_DIGEST.fullmatch(name)
    if match is None:
        grouped = ", ".join(rule.selection.group_by)
        raise UsageError(f"{trigger_id}: {rule.name} is grouped by {grouped}, and the id has no digest of it")
    return GroupWanted(match["component"], digest=match["digest"])


def _labels(rule: Rule, texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in rule.selection.group_by:
            known = ", ".join(rule.selection.group_by) or "the component alone"
            raise UsageError(f"--label {text}: write NAME=VALUE; {rule.name} is grouped by {known}")
        found[name] = value
    missing = [name for name in rule.selection.group_by if name not in found]
    if missing:
        raise UsageError(
            f"{rule.name} has a group for each {', '.join(missing)}: give --label {missing[0]}=…"
        )
    return found


def _rule(config: MonitorConfig, name: str) -> Rule:
    for rule in config.rules:
        if rule.name == name:
            return rule
    if any(compound.name == name for compound in config.compounds):
        raise UsageError(f"{name} is a compound trigger: explain its members, whose ids its event names")
    known = ", ".join(sorted(rule.name for rule in config.rules))
    raise UsageError(f"there is no trigger {name!r}. Known are {known}; --rules names other files")


def _look_back(text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--look-back {text}: {error}; write it as 30m or 2h") from None


def _from_file(path: Path, question: _Question, lateness: float) -> Recorded:
    if is_parquet(path):
        if question.rule.looks_at_releases:
            raise UsageError(
                f"{path} is Parquet, which holds no releases, and {question.rule.name} looks at them: "
                "give JSON lines, or leave --input out to read the topic"
            )
        samples = ParquetSamples(path, labels=question.rule.selection.labels)
        tables = samples.tables(lambda _row, _unread: None)
        return from_tables(tables, question.rule, question.group, lateness)
    try:
        with path.open("rb") as file:
            return from_lines(file, question.rule, question.group, lateness)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


async def _from_topic(settings: Settings, question: _Question, look_back: int) -> Account:
    kafka = Kafka.of(settings, "explain")
    rule, lateness = question.rule, settings.monitor.allowed_lateness_s
    fired: TriggerEvent | None = None
    last_told: int | None = None
    if question.trigger_id is not None:
        events = await trigger_events(kafka, question.trigger_id)
        fired = next((event for event in events if event.kind == "fired"), events[0] if events else None)
        last_told = int(events[-1].at.timestamp()) if events else None
        question = _Question(rule, question.group, question.trigger_id, question.at, fired, last_told)
    widest = max(check.window for check in rule.checks)
    begin = question.at - widest - rule.terms.lasting - look_back
    # A breach that still lasts is looked at for as long as the log goes.
    last = question.at if question.trigger_id is None else _END_OF_TIME
    if last_told is not None and events[-1].kind in ("resolved", "superseded"):
        last = last_told
    reach = max(_A_DAY, look_back, rule.only_within or 0) + MAX_AHEAD_S
    best: Account | None = None
    for go_back in range(_RELEASES_BACK):
        source = await from_topic(
            kafka,
            rule,
            question.group,
            lateness,
            begin=begin,
            last=last,
            event=fired,
            releases_since=question.at - reach,
            go_back=go_back,
        )
        account = _account(question, source)
        differs = fired is not None and _differs(account, fired)
        best = account if best is None or not differs else best
        # One that breached through a release goes on with what it was compared with before.
        if not differs or rule.baseline is None:
            break
    assert best is not None  # noqa: S101 - the first source gives one
    return best


def _differs(account: Account, event: TriggerEvent) -> bool:
    """Whether the live service, under the same definition, found another value when it fired."""
    explanation = account.explanation
    if event.kind != "fired" or event.value is None or event.rule_hash != explanation.rule.hash:
        return False
    at = int(event.at.timestamp())
    found = next((each.value for each in explanation.changes_of_phase if each.at == at), None)
    return found is None or not math.isclose(found, event.value, rel_tol=1e-9)


def _account(question: _Question, source: Source) -> Account:
    """The explanation, with what has to be said about where it comes from."""
    rule, notes = question.rule, list(source.missing)
    if question.event is not None and question.event.rule_hash != rule.hash:
        notes.append(
            f"the trigger's definition has changed since: it was decided by {question.event.condition}, "
            "and is explained as it is configured now"
        )
    first = last = question.at
    if question.trigger_id is not None:
        found = episode(rule, source.recorded, question.trigger_id)
        if found is not None:
            first, last = found
        else:
            notes.append(
                f"over these samples the trigger, as it is defined now, has no breach {question.trigger_id} "
                "that fires"
            )
            last = question.last_told or question.at
    explanation = explain(rule, source.recorded, first, last)
    if explanation.evaluated is None:
        notes.append(f"there is no sample of {question.group.component} to evaluate")
    elif explanation.evaluated < last:
        notes.append("the samples end before that time: later seconds are not evaluated")
    account = Account(explanation, question.trigger_id, question.event, source.place, notes)
    told = question.event
    if told is not None and told.value is not None and _differs(account, told):
        notes.append(
            f"the live service found {told.value:.10g} when it fired at {rfc3339(int(told.at.timestamp()))}, "
            "and these records lead to something else: what it saw is not all here"
        )
    return account
