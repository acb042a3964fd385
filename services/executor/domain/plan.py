"""The plan: a playbook in words, before anything is done, and the hash that names it."""

from __future__ import annotations

import hashlib
import json

from schemas.rollbacks import PlannedStep
from services.executor.domain.playbook import (
    HttpCall,
    HttpCheck,
    Limit,
    Playbook,
    Process,
    ProcessCheck,
    Step,
    Validate,
    Wait,
)


def plan_of(playbook: Playbook) -> tuple[PlannedStep, ...]:
    """The steps of a playbook as a person reads them."""
    return tuple(
        PlannedStep(
            id=step.id,
            action=step.action.kind,
            description=_words(step),
            reversible=is_reversible(step),
            fenced=step.fenced,
        )
        for step in playbook.steps
    )


def is_reversible(step: Step) -> bool:
    """Whether a done step can be taken back, or changes nothing at all."""
    if step.irreversible:
        return False
    return step.undo is not None or not changes_something(step)


def changes_something(step: Step) -> bool:
    """Whether the step has an effect on its target; waits, checks and validations have none."""
    return isinstance(step.action, HttpCall | Process)


def plan_hash(playbook: Playbook) -> str:
    """The same for the same playbook, whatever its file's layout: ``sha256:<hex>``."""
    document = playbook.model_dump(mode="json")
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def execution_id_of(requested_by: str, *, component: str = "", declined: int = 0) -> str:
    """The id of the one execution that a request can lead to: reading it again starts nothing new.

    ``component`` tells apart executions that follow one another in one incident (``on_failure``),
    ``declined`` the one that a trigger leads to after so many that were declined before they began.
    """
    after = f"\n{declined}" if declined else ""
    digest = hashlib.sha256(f"{requested_by}\n{component}{after}".encode()).hexdigest()
    return f"rb-{digest[:24]}"


def _words(step: Step) -> str:
    return step.description or describe(step.action)


def describe(action: HttpCall | HttpCheck | Process | ProcessCheck | Wait | Validate) -> str:
    """An action in words."""
    match action:
        case HttpCall():
            body = "" if action.body is None else f" {json.dumps(action.body, ensure_ascii=False)}"
            return f"{action.method} {action.url}{body}"
        case HttpCheck():
            return f"GET {action.url} and see that it answers {action.status}"
        case Process() | ProcessCheck():
            return "run " + " ".join(action.argv)
        case Wait():
            return f"wait {action.seconds:g} s"
        case Validate():
            limits = ", ".join(_limit_words(limit) for limit in action.limits)
            return f"run the suite {action.suite}: {limits}"


def _limit_words(limit: Limit) -> str:
    bounds = []
    if limit.at_least is not None:
        bounds.append(f">= {limit.at_least:g}")
    if limit.at_most is not None:
        bounds.append(f"<= {limit.at_most:g}")
    return f"{limit.name} {' and '.join(bounds)}"
