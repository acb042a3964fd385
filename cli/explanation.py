"""How an explanation is told to a person, and given to a program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import typer

from cli.explained_releases import about_releases, releases_json
from cli.output import moment, write_table
from schemas.triggers import TriggerEvent
from services.monitor.domain.engine.outcomes import judgement, rfc3339
from services.monitor.domain.explaining.explaining import Explanation, Seen
from services.monitor.domain.explaining.percentages import judgement_in_percent, percent
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.rules import Check, Rule
from services.monitor.handlers.backtest import transition_json

_MAX_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Account:
    """An explanation, the event it is about (if the topic had one), and the samples' place. ``since`` is
    where a range of seconds begins, if one was asked about."""

    explanation: Explanation
    trigger_id: str | None
    event: TriggerEvent | None
    place: str
    notes: list[str] = field(default_factory=list)
    since: int | None = None


def show(account: Account) -> None:
    """Print it for a person."""
    found = account.explanation
    rule = found.rule
    typer.echo(f"{rule.name} of {found.group}: {_verdict(account)}")
    of = "" if rule.further else f"{' / '.join(rule.checks[0].metrics)} "
    typer.echo(f"  {of}{rule.condition}; {_terms(found)}  ({rule.place or 'defined elsewhere'})")
    for note in account.notes:
        typer.echo(f"  note: {note}")
    for line in _standing(found):
        typer.echo(f"  {line}")
    for line in _breach(found):
        typer.echo(f"  {line}")
    for line in about_releases(found):
        typer.echo(f"  {line}")
    if found.changes_of_phase:
        typer.echo("\nWhat happened")
        for change in found.changes_of_phase[-_MAX_SHOWN:]:
            words = f"{change.before} → {change.after}  {change.reason}: {change.why}"
            typer.echo(f"  {rfc3339(change.at)}  {words}")
    _show_samples(account)
    _show_flips(found)


def _verdict(account: Account) -> str:
    found = account.explanation
    if account.since is not None and not found.fired:
        return f"not firing from {rfc3339(account.since)} to {rfc3339(found.at)}"
    if account.trigger_id is None and account.since is None:
        return f"{'firing' if found.fired else 'not firing'} at {rfc3339(found.at)}"
    fired = next((each for each in reversed(found.changes_of_phase) if each.after == "firing"), None)
    if found.fired and fired is None:
        return f"firing at {rfc3339(found.at)}"
    if found.fired and fired is not None:
        return f"fired at {rfc3339(fired.at)}"
    return "did not fire"


def _terms(found: Explanation) -> str:
    rule, terms = found.rule, found.rule.terms
    parts = [] if rule.further else [_window(rule.checks[0])]
    if rule.selection.matchers:
        parts.append(f"matchers {', '.join(map(str, rule.selection.matchers))}")
    parts.append(f"min_samples {terms.min_samples}")
    if terms.keep:
        parts.append(f"keep_firing_for {format_duration(terms.keep)}")
    return ", ".join([*parts, f"no_data {terms.no_data}"])


def _window(check: Check) -> str:
    window = f"{check.traits.span} {format_duration(check.window)}"
    return window if check.clear is None else f"{window}, clear {check.clear}"


def _standing(found: Explanation) -> list[str]:
    """Where it stands at the second asked about, or the last that is evaluated."""
    if found.evaluated is None:
        return []
    rule, state = found.rule, found.state
    readings = [_reading(rule, *each) for each in zip(rule.checks, found.values, strict=True)]
    lines = [f"at {rfc3339(found.at)} it is {state.phase}: {'; '.join(readings)}"]
    if state.phase == "inactive":
        return lines
    samples = f"{state.samples} of {rule.terms.min_samples} breaching samples"
    since = f"breaching since {rfc3339(state.began)}"
    held = f" ({format_duration(state.held)} without data are not counted)" if state.held else ""
    if rule.terms.quorum is None:
        counts = f"which counts for {format_duration(found.lasted)} of {format_duration(rule.terms.lasting)}"
    else:
        counts = f"in {found.lasted} of the last {rule.terms.lasting} evaluations; {rule.terms.quorum} fire"
    return [*lines, f"{since}, {counts}{held}; {samples}"]


def _reading(rule: Rule, check: Check, value: float | None) -> str:
    what = check.words() if rule.further else "the value"
    if value is None:
        return f"{what} has no data" if rule.further else "there is no data in the window"
    if check.baseline is not None:
        return f"{what} is {percent(value)} against the baseline, {judgement_in_percent(check, value)}"
    return f"{what} is {value:.10g}, {judgement(check.when, check.clear, value)}"


def _breach(found: Explanation) -> list[str]:
    """How long the breach took to fire, and how long it fired."""
    fired = next((each for each in reversed(found.changes_of_phase) if each.after == "firing"), None)
    if not found.fired or fired is None:
        return []
    ended = next(
        (each.at for each in found.changes_of_phase if each.before == "firing" and each.at > fired.at), None
    )
    lasted = f"{format_duration(fired.at - fired.began)} after the breach began"
    until = found.at if ended is None else ended
    still = " and still does" if ended is None else ""
    return [f"it fired {lasted}, and was firing for {format_duration(until - fired.at)}{still}"]


def _show_samples(account: Account) -> None:
    seen = account.explanation.seen
    if not seen:
        typer.echo(f"\nIt saw no sample ({account.place})")
        return
    unit = "LINE" if "[" not in account.place else "OFFSET"
    typer.echo(f"\nThe samples it saw ({account.place}, {len(seen)} in all)")
    if len(seen) > _MAX_SHOWN:
        typer.echo(f"  … {len(seen) - _MAX_SHOWN} before; -o json has them all")
    several = len({(each.metric, tuple(each.labels.items())) for each in seen}) > 1
    header = [f"  {unit}", "TIME", *(["SERIES"] if several else []), "VALUE", ""]
    write_table(header, [_sample(each, several=several) for each in seen[-_MAX_SHOWN:]])


def _sample(seen: Seen, *, several: bool) -> list[object]:
    marks = [word for word, is_so in (("breaches", seen.breaches), ("late", seen.late)) if is_so]
    labels = ", ".join(f'{name}="{value}"' for name, value in seen.labels.items())
    series = [f"{seen.metric}{{{labels}}}" if labels else seen.metric] if several else []
    return [f"  {seen.offset}", moment(seen.time), *series, f"{seen.value:.10g}", ", ".join(marks)]


def _show_flips(found: Explanation) -> None:
    typer.echo("\nIt would not have fired with" if found.fired else "\nIt would have fired with")
    for flip in found.flips:
        typer.echo(f"  {flip.words}")
    if not found.flips:
        others = ", and no other word about releases," if found.rule.looks_at_releases else ""
        typer.echo(f"  no other threshold, `for`, `min_samples` or window{others} alone")
    for reason in found.not_tried:
        typer.echo(f"  ({reason})")


def as_json(account: Account) -> dict[str, Any]:
    """The same for a program."""
    found = account.explanation
    rule = found.rule
    return {
        "trigger": rule.name,
        "component": found.group.component,
        "group": found.group.as_mapping(),
        "id": account.trigger_id,
        "event": None if account.event is None else account.event.model_dump(mode="json"),
        "fired": found.fired,
        "since": None if account.since is None else rfc3339(account.since),
        "at": rfc3339(found.at),
        "evaluated_through": None if found.evaluated is None else rfc3339(found.evaluated),
        "phase": found.state.phase,
        "value": found.values[0],
        "values": list(found.values),
        "definition": rule.definition(),
        "place": rule.place,
        "began": None if found.state.phase == "inactive" else rfc3339(found.state.began),
        "lasted_s": None if found.state.phase == "inactive" else found.lasted,
        "held_s": found.state.held,
        "breaching_samples": found.state.samples,
        "transitions": [transition_json(change) | {"why": change.why} for change in found.changes_of_phase],
        "samples_from": account.place,
        "samples": [
            {
                "offset": seen.offset,
                "time": moment(seen.time),
                "metric": seen.metric,
                "labels": dict(seen.labels),
                "value": seen.value,
                "breaches": seen.breaches,
                "late": seen.late,
            }
            for seen in found.seen
        ],
        "would_turn_it": [
            {
                "setting": flip.setting,
                "measure": flip.measure,
                "now": flip.now,
                "value": flip.value,
                "inclusive": flip.inclusive,
                "words": flip.words,
            }
            for flip in found.flips
        ],
        "not_tried": found.not_tried,
        "notes": account.notes,
        **releases_json(found),
    }
