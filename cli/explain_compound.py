"""``backout triggers explain`` for compound triggers: who fired when, who was missing, and what would
have turned it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import typer

from chassis.kafka import Kafka
from chassis.settings import Settings
from cli.backtest_input import RecordedFiles, Run, backtest_file, is_parquet
from cli.backtest_report import Complaints
from cli.explain_question import CompoundQuestion
from cli.output import Output, moment, write_json, write_table
from cli.sending import require_topics
from schemas.triggers import TriggerEvent
from services.monitor.adapters.compound_source import (
    CompoundSource,
    heard_in_backtest,
    heard_on_topic,
    reports_in_backtest,
)
from services.monitor.adapters.config_directory import MonitorConfig
from services.monitor.domain.compound.definitions import Reported
from services.monitor.domain.compound.explained import CompoundExplanation, explain_compound, firing_of
from services.monitor.domain.compound.outcomes import outcome_json
from services.monitor.domain.compound.report_stage import LASTS_S
from services.monitor.domain.compound.turning import Turn
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.handlers.backtest import Backtested


@dataclass(frozen=True, slots=True)
class CompoundAccount:
    """An explanation, the id it is about, the event that told of it (if the topic had one), where all of
    that is from, and what is to be said about it."""

    explanation: CompoundExplanation
    trigger_id: str | None
    event: TriggerEvent | None
    place: str
    notes: list[str]


def explain_compound_trigger(
    settings: Settings,
    config: MonitorConfig,
    question: CompoundQuestion,
    files: RecordedFiles | None,
    output: Output,
) -> None:
    """Explain over the topic, or over a file's samples, and print it."""
    if files is None:
        source = asyncio.run(_from_topic(settings, question))
    else:
        source = _from_file(settings, config, question, files)
    account = _account(question, source)
    if output is Output.JSON:
        write_json(_as_json(account))
    else:
        _show(account)


async def _from_topic(settings: Settings, question: CompoundQuestion) -> CompoundSource:
    kafka = Kafka.of(settings, "explain")
    await require_topics(kafka, "triggers", "reports")
    return await heard_on_topic(
        kafka,
        question.rule,
        lateness=settings.monitor.compound_lateness_s,
        first=question.first,
        last=None if question.trigger_id is not None else question.last,
        now=time.time(),
    )


def _from_file(
    settings: Settings, config: MonitorConfig, question: CompoundQuestion, files: RecordedFiles
) -> CompoundSource:
    samples = files.samples
    told = Complaints("row" if is_parquet(samples) else "line")
    lateness = settings.monitor.allowed_lateness_s
    by_reports = isinstance(question.rule.condition, Reported)
    # Reports are decided without any sample.
    found = backtest_file(files, Run(() if by_reports else config.rules, lateness, None, told))
    if by_reports:
        return _from_reports(question, files, found)
    ends = max(found.through.values(), default=question.last)
    through = ends if question.trigger_id is not None else max(ends, question.last)
    missing = () if ends >= question.last else ("the samples end before that time",)
    return CompoundSource(heard_in_backtest(found.transitions(), through), str(samples), missing=missing)


def _from_reports(question: CompoundQuestion, files: RecordedFiles, found: Backtested) -> CompoundSource:
    place = str(files.samples if files.reports is None else files.reports)
    read = max((int(each.read) for each in found.reports), default=question.last)
    # How long a report counts is a matter of time alone.
    through = read + LASTS_S if question.trigger_id is not None else max(read, question.last)
    missing = () if found.reports else (f"{place} holds no reports; --reports names a file with some",)
    return CompoundSource(reports_in_backtest(found.reports, through), place, missing=missing)


def _account(question: CompoundQuestion, source: CompoundSource) -> CompoundAccount:
    rule, heard, notes = question.rule, source.heard, list(source.missing)
    first, last = question.first, question.last
    event = None
    if question.trigger_id is not None:
        mine = [each for each in source.own if each.trigger_id == question.trigger_id]
        event = next((each for each in mine if each.kind == "fired"), mine[0] if mine else None)
        if event is not None and event.rule_hash != rule.hash:
            notes.append(
                f"the trigger's definition has changed since: it was decided by {event.condition}, "
                "and is explained as it is configured now"
            )
        firing = firing_of(rule, heard, question.trigger_id)
        if firing is not None:
            first = firing.fired.at
            last = heard.through if firing.ended is None else firing.ended.at
        else:
            notes.append(
                f"over what is there the trigger, as it is defined now, has no firing {question.trigger_id}"
            )
            first = first if event is None else int(event.at.timestamp())
            last = max(int(each.at.timestamp()) for each in mine) if mine else first + _window(question)
    return CompoundAccount(
        explain_compound(rule, heard, first, last), question.trigger_id, event, source.place, notes
    )


def _window(question: CompoundQuestion) -> int:
    condition = question.rule.condition
    return LASTS_S if isinstance(condition, Reported) else condition.window


def _show(account: CompoundAccount) -> None:
    found = account.explanation
    rule = found.rule
    typer.echo(f"{rule.name}: {_verdict(found)}")
    typer.echo(f"  {rule.condition.words()}  ({rule.place or 'defined elsewhere'})")
    for note in account.notes:
        typer.echo(f"  note: {note}")
    typer.echo(f"  {_count(found)}")
    if found.changes:
        typer.echo("\nWhat happened")
        for change in found.changes:
            before, after = change.phases
            typer.echo(f"  {rfc3339(change.at)}  {before} → {after}  {change.reason}: {change.why}")
    if isinstance(rule.condition, Reported):
        _show_reports(account)
    else:
        _show_members(account)
    typer.echo("\nIt would not have fired with" if found.fired else "\nIt would have fired with")
    for turn in found.turns:
        typer.echo(f"  {turn.words}")
    if not found.turns:
        nothing = "no other report alone" if isinstance(rule.condition, Reported) else "no single change"
        typer.echo(f"  {nothing}")


def _verdict(found: CompoundExplanation) -> str:
    firing = found.firing
    when = f"at {rfc3339(found.last)}"
    if found.first != found.last:
        when = f"from {rfc3339(found.first)} to {rfc3339(found.last)}"
    if firing is None:
        return f"not firing {when}"
    ended = "and still does" if firing.ended is None else f"and ended at {rfc3339(firing.ended.at)}"
    return f"fired at {rfc3339(firing.fired.at)} {ended}, as {firing.trigger_id}"


def _count(found: CompoundExplanation) -> str:
    condition = found.rule.condition
    if isinstance(condition, Reported):
        return f"{found.together} reports of that within the time it looks back"
    missing = condition.at_least - found.together
    short = "" if missing <= 0 else f": {missing} {'is' if missing == 1 else 'are'} missing"
    return f"{found.together} of {condition.at_least} components came together{short}"


def _show_members(account: CompoundAccount) -> None:
    members = account.explanation.members
    if not members:
        typer.echo(f"\nNo trigger fired in that time ({account.place})")
        return
    typer.echo(f"\nThe triggers that fired ({account.place})")
    rows = [
        [
            f"  {seen.member.component}",
            seen.member.trigger,
            seen.member.severity,
            rfc3339(seen.member.fired),
            "still fires" if seen.ended is None else rfc3339(seen.ended),
            "counts" if seen.counts else seen.missed,
        ]
        for seen in members
    ]
    write_table(["  COMPONENT", "TRIGGER", "SEVERITY", "FIRED", "ENDED", ""], rows)
    typer.echo(f"  Each is explained by its own id: backout triggers explain {members[0].member.trigger_id}")


def _show_reports(account: CompoundAccount) -> None:
    found = account.explanation
    condition = found.rule.condition
    if not found.reports:
        typer.echo(f"\nNothing was reported in that time ({account.place})")
        return
    typer.echo(f"\nWhat was reported ({account.place})")
    kinds = condition.kinds if isinstance(condition, Reported) else ()
    rows = [
        [
            f"  {moment(each.at)}",
            each.kind,
            each.component,
            each.reported_by,
            each.reason,
            "counts" if each.kind in kinds else "is of another kind",
        ]
        for each in found.reports
    ]
    write_table(["  AT", "KIND", "COMPONENT", "BY", "REASON", ""], rows)


def _as_json(account: CompoundAccount) -> dict[str, Any]:
    found = account.explanation
    rule, firing = found.rule, found.firing
    condition = rule.condition
    return {
        "trigger": rule.name,
        "id": account.trigger_id if firing is None else firing.trigger_id,
        "event": None if account.event is None else account.event.model_dump(mode="json"),
        "fired": found.fired,
        "since": rfc3339(found.first),
        "until": rfc3339(found.last),
        "fired_at": None if firing is None else rfc3339(firing.fired.at),
        "ended_at": None if firing is None or firing.ended is None else rfc3339(firing.ended.at),
        "definition": rule.definition(),
        "place": rule.place,
        "condition": condition.words(),
        "together": found.together,
        "needed": rule.threshold,
        "window_s": None if isinstance(condition, Reported) else condition.window,
        "transitions": [outcome_json(change) | {"why": change.why} for change in found.changes],
        "members": [
            {
                "id": seen.member.trigger_id,
                "trigger": seen.member.trigger,
                "component": seen.member.component,
                "severity": seen.member.severity,
                "fired": rfc3339(seen.member.fired),
                "ended": None if seen.ended is None else rfc3339(seen.ended),
                "counts": seen.counts,
                "why_not": seen.missed or None,
            }
            for seen in found.members
        ],
        "reports": [
            {
                "id": each.id,
                "kind": each.kind,
                "component": each.component,
                "at": moment(each.at),
                "reported_by": each.reported_by,
                "reason": each.reason,
            }
            for each in found.reports
        ],
        "from": account.place,
        "would_turn_it": [
            {
                "setting": turn.setting,
                "member": turn.member,
                "component": turn.component,
                "now": _setting(turn, turn.now),
                "value": _setting(turn, turn.value),
                "words": turn.words,
            }
            for turn in found.turns
        ],
        "notes": account.notes,
    }


def _setting(turn: Turn, value: float | None) -> float | str | None:
    """Where somebody fires or reports, it is a time."""
    is_time = value is not None and turn.setting in ("member", "further", "report")
    return rfc3339(int(value)) if is_time and value is not None else value
