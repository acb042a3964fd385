"""What an explanation says about releases: which one counted, and what was compared with what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from cli.output import moment
from services.monitor.domain.engine.outcomes import rfc3339
from services.monitor.domain.engine.releases import Release
from services.monitor.domain.explaining.compared_with import Figure
from services.monitor.domain.explaining.explaining import Explanation
from services.monitor.domain.explaining.percentages import judgement_in_percent, percent
from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.measuring.baselines import relative_to


def about_releases(found: Explanation) -> list[str]:
    """Lines for a person; none for a trigger that does not look at releases."""
    rule, release = found.rule, found.release
    if not rule.looks_at_releases:
        return []
    if release is None:
        return [
            f"no release of {found.group.component} counted at {rfc3339(found.decided)}: it cannot breach"
        ]
    lines = [f"{_named(release)}: {_after(found, release)}"]
    if rule.only_within is not None:
        end = release.second + rule.only_within
        is_over = found.decided >= end
        limit = f"`only_within` {format_duration(rule.only_within)} {'was' if is_over else 'is'} over at"
        since = f": {format_duration(found.decided - end)} too late to breach" if is_over else ""
        lines.append(f"{limit} {rfc3339(end)}{since}")
    return lines if not rule.has_baseline else [*lines, *_compared(found)]


def _after(found: Explanation, release: Release) -> str:
    """How long after the release the breach came."""
    later = format_duration(found.decided - release.second)
    began = _breach(found)
    if began is None:
        return f"{later} before {rfc3339(found.decided)}"
    apart = format_duration(abs(began - release.second))
    before = "before" if began < release.second else "after"
    return f"the breach began {apart} {before} it, and fired {later} after it"


def _breach(found: Explanation) -> int | None:
    """When the breach that fired began; None if none did."""
    changes = (each for each in found.changes_of_phase if each.at == found.decided)
    return next((each.began for each in changes if found.fired and each.after == "firing"), None)


def _compared(found: Explanation) -> list[str]:
    if not found.figures:
        return ["nothing is compared: no release counted while the trigger was inactive"]
    return [line for figure in found.figures for line in _of_check(found, figure)]


def _of_check(found: Explanation, figure: Figure) -> list[str]:
    check = found.rule.checks[figure.check]
    measure = replace(check, baseline=None).words()
    which = f" for {measure}" if found.rule.further else ""
    of = f"{figure.baseline} ({_named(figure.release)})"
    if figure.earliest is None or figure.latest is None:
        return [f"there is nothing to compare with{which}: no sample for {of}"]
    samples = f"{figure.samples} samples from {moment(figure.earliest)} to {moment(figure.latest)}"
    if not check.is_level:
        samples = f"its values at {figure.kept} moments, of {samples}"
    elif figure.kept != figure.samples:
        samples += f", {figure.kept} of them drawn"
    if figure.value is None:
        why = "is 0" if figure.kept else "has no value"
        return [f"there is nothing to compare with{which}: {of} {why} over {samples}"]
    lines = [f"the baseline{which} is {figure.value:.10g}, {of}: {samples}"]
    value = found.readings[figure.check]
    if value is not None:
        ratio = float(relative_to(figure.value, np.array(value)))
        lines.append(
            f"at {rfc3339(found.decided)} {measure} was {value:.10g}, which is {percent(ratio)}, "
            f"{judgement_in_percent(check, ratio)}"
        )
    return lines


def _named(release: Release) -> str:
    version = f" {release.version}" if release.version else ""
    return f"release{version} of {release.component} at {moment(release.time)}"


def releases_json(found: Explanation) -> dict[str, Any]:
    """The same for a program; nothing for a trigger that does not look at releases."""
    rule, release = found.rule, found.release
    if not rule.looks_at_releases:
        return {}
    began = _breach(found)
    answer: dict[str, Any] = {
        "release": None
        if release is None
        else {
            **_release_json(release),
            "before_s": found.decided - release.second,
            "breach_after_s": None if began is None else began - release.second,
            "over_at": None if rule.only_within is None else rfc3339(release.second + rule.only_within),
        }
    }
    if rule.has_baseline:
        of_checks = [_figure_json(found, figure) for figure in found.figures]
        # That of the first condition, and of each one.
        answer["baseline"] = next(iter(of_checks), None)
        answer["baselines"] = of_checks
    return answer


def _figure_json(found: Explanation, figure: Figure) -> dict[str, Any]:
    return {
        "value": figure.value,
        "measure": found.rule.checks[figure.check].words(),
        **figure.baseline.definition(),
        "release": _release_json(figure.release),
        "counts_from": rfc3339(figure.since),
        "samples": figure.samples,
        "drawn" if found.rule.checks[figure.check].is_level else "moments": figure.kept,
        "since": None if figure.earliest is None else moment(figure.earliest),
        "until": None if figure.latest is None else moment(figure.latest),
        "compared_at": rfc3339(found.decided),
        "compared_value": found.readings[figure.check],
    }


def _release_json(release: Release) -> dict[str, Any]:
    return {"version": release.version, "time": moment(release.time), "offset": release.offset}
