"""One execution, as its journal tells it, and what has to be done next.

Nothing about an execution is kept but its journal: a new owner reads it from the beginning and
stands where the former one stood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from schemas import rollbacks as events
from schemas.commands import RollbackMode
from schemas.rollbacks import RollbackKind, RollbackStatus
from services.executor.domain.plan import changes_something
from services.executor.domain.playbook import Playbook, Step, Wait


class Phase(StrEnum):
    """Where a step stands."""

    FRESH = "fresh"
    INTENDED = "intended"
    SATISFIED = "satisfied"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo_failed"


class StillWanted(Exception):
    """A command was absorbed into an execution that is about to be declined."""


AskedBy = Literal["trigger", "command", "on_failure"]


@dataclass(frozen=True, slots=True)
class Execution:
    """One accepted rollback. ``cause_id`` is the event that led here, ``incident_id`` what began it all,
    ``traceparent`` the trace of the trigger that asked for it, if it has one."""

    execution_id: str
    component: str
    requested_by: str
    asked_by: AskedBy
    cause_id: str
    incident_id: str
    mode: RollbackMode
    heeds_pause: bool
    reason: str
    playbook: Playbook
    plan_hash: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A journal entry before it has a number. ``step`` and ``checks`` are shown to everybody."""

    kind: RollbackKind
    reason: str
    why: str = ""
    step: events.Step | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[events.Check, ...] = ()
    plan: tuple[events.PlannedStep, ...] = ()
    status: RollbackStatus | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal entry, as far as what follows depends on it. ``memory`` is never sent anywhere."""

    sequence: int
    kind: RollbackKind
    at: datetime
    reason: str = ""
    why: str = ""
    step_id: str | None = None
    attempt: int = 1
    epoch: int | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an execution stands as a whole after an entry, for its row and for everybody."""

    state: Literal["running", "held", "planned", "ended", "declined"]
    progress: int
    estimated_completion: datetime | None
    status: RollbackStatus | None = None


@dataclass(frozen=True, slots=True)
class RequestEntry:
    """An entry about a request that led to no execution, under the request's own id."""

    request_id: str
    component: str
    incident_id: str
    cause_id: str
    draft: Draft
    traceparent: str | None = None


def as_entry(draft: Draft, sequence: int, at: datetime, epoch: int | None) -> Entry:
    """The draft with its number, its time and the epoch that it is written under."""
    return Entry(
        sequence=sequence,
        kind=draft.kind,
        at=at,
        reason=draft.reason,
        why=draft.why,
        step_id=draft.step.id if draft.step else None,
        attempt=draft.step.attempt if draft.step else 1,
        epoch=epoch,
        memory=draft.memory,
    )


@dataclass(frozen=True, slots=True)
class StepState:
    """``prior`` is what was observed before the first intent; ``undo`` how it is taken back, and
    ``undo_prior`` what of ``prior`` that restores, by its paths."""

    phase: Phase = Phase.FRESH
    attempts: int = 0
    intended_at: datetime | None = None
    prior: Any = None
    undo: Mapping[str, Any] | None = None
    undo_prior: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an execution cannot go on."""

    reason: str
    why: str
    step_id: str


def ends_execution(kind: RollbackKind) -> bool:
    """Whether nothing comes after an entry of this kind. One is refused that was accepted, and no longer
    wanted when it was about to begin."""
    return kind in ("completed", "refused", "planned")


@dataclass(frozen=True, slots=True)
class State:
    """Where an execution stands. ``excluded_s`` are the seconds that its deadline does not count."""

    steps: Mapping[str, StepState] = field(default_factory=dict)
    started_at: datetime | None = None
    last_at: datetime | None = None
    held: bool = False
    excluded_s: float = 0.0
    failure: Failure | None = None
    ended: bool = False
    sequence: int = 0

    def step(self, step_id: str) -> StepState:
        return self.steps.get(step_id, StepState())


def fold(playbook: Playbook, entries: Iterable[Entry]) -> State:
    """Where an execution stands after these entries."""
    state = State()
    for entry in entries:
        state = after(playbook, state, entry)
    return state


def after(playbook: Playbook, state: State, entry: Entry) -> State:
    """Where an execution stands after one more entry."""
    since = (entry.at - state.last_at).total_seconds() if state.last_at is not None else 0.0
    state = replace(state, last_at=entry.at, sequence=entry.sequence)
    match entry.kind:
        case "started":
            return replace(state, started_at=entry.at)
        case "held":
            return replace(state, held=True)
        case "continued":
            return replace(state, held=False, excluded_s=state.excluded_s + since)
        case "owner_changed":
            return replace(state, excluded_s=state.excluded_s + since)
        case "step_started" | "step_completed" | "step_failed" | "undo_started" | "step_undone":
            return _after_step(playbook, state, entry, since)
        case kind if ends_execution(kind):
            return replace(state, ended=True)
        case _:
            return state


def _after_step(playbook: Playbook, state: State, entry: Entry, since: float) -> State:
    assert entry.step_id is not None  # noqa: S101 - the journal's own constraint
    step = state.step(entry.step_id)
    match entry.kind:
        case "step_started":
            if not step.attempts:
                first = entry.memory
                kept = first.get("undo_prior", {})
                step = StepState(prior=first.get("prior"), undo=first.get("undo"), undo_prior=kept)
            step = replace(step, phase=Phase.INTENDED, attempts=entry.attempt, intended_at=entry.at)
        case "step_completed":
            satisfied = entry.reason == "already_satisfied"
            step = replace(step, phase=Phase.SATISFIED if satisfied else Phase.DONE)
            if isinstance(playbook.step(entry.step_id).action, Wait):
                state = replace(state, excluded_s=state.excluded_s + since)
        case "undo_started":
            step = replace(step, phase=Phase.UNDOING, attempts=entry.attempt, intended_at=entry.at)
        case "step_undone":
            step = replace(step, phase=Phase.UNDONE)
        case _:
            step = replace(step, phase=_failed_phase(entry, step.phase))
            if entry.reason != UNDO_FAILED:
                state = replace(state, failure=_failure(entry.step_id, entry, state.failure))
    return replace(state, steps={**state.steps, entry.step_id: step})


def _failure(step_id: str, entry: Entry, first: Failure | None) -> Failure:
    """Why it cannot go on; where not even the undoing of a ``first`` failure can, both."""
    behind = f"; it was being undone because of step {first.step_id}: {first.why}" if first else ""
    return Failure(entry.reason, entry.why + behind, step_id)


def _failed_phase(entry: Entry, before: Phase) -> Phase:
    if entry.reason == UNDO_FAILED or before is Phase.UNDOING:
        return Phase.UNDO_FAILED
    unknown = entry.reason == OUTCOME_UNKNOWN or entry.memory.get("may_land", False)
    return Phase.UNKNOWN if unknown else Phase.FAILED


# The named reasons of a failure.
STEP_FAILED = "step_failed"
OUTCOME_UNKNOWN = "outcome_unknown"
VALIDATION_FAILED = "validation_failed"
DEADLINE = "deadline_exceeded"
REQUIRE_NOT_MET = "require_not_met"
UNDO_FAILED = "undo_failed"
FENCED_BY_TARGET = "fenced_by_target"
UNEXPECTED_ERROR = "unexpected_error"

# After these nothing is taken back. A validation that failed has found the restored state wanting,
# not the steps before it: taking them back would put the bad release in charge again. Where the
# outcome is unknown, an undo might cross the request that it undoes. Where a target obeys somebody
# else, an undo would cross that.
_NO_UNDO_AFTER = frozenset({VALIDATION_FAILED, OUTCOME_UNKNOWN, REQUIRE_NOT_MET, FENCED_BY_TARGET})


@dataclass(frozen=True, slots=True)
class RunStep:
    step: Step


@dataclass(frozen=True, slots=True)
class UndoStep:
    step: Step


@dataclass(frozen=True, slots=True)
class Finish:
    """How the execution ends, apart from what ``on_failure`` leads to."""

    status: RollbackStatus
    reason: str
    why: str


Task = RunStep | UndoStep | Finish


def next_task(playbook: Playbook, state: State) -> Task:
    """What an execution that has started has to do next."""
    if state.failure is None:
        for step in playbook.steps:
            if state.step(step.id).phase in (Phase.FRESH, Phase.INTENDED):
                return RunStep(step)
        return Finish("Success", "all_steps_done", "every step was seen to be done")
    undo = _next_undo(playbook, state, state.failure)
    return undo if undo is not None else _finish_failed(playbook, state, state.failure)


def _next_undo(playbook: Playbook, state: State, failure: Failure) -> UndoStep | None:
    if failure.reason in _NO_UNDO_AFTER:
        return None
    for step in reversed(playbook.steps):
        phase = state.step(step.id).phase
        if phase is Phase.UNDO_FAILED or (step.irreversible and phase is Phase.DONE):
            return None
        if phase is Phase.UNDOING or (phase is Phase.DONE and step.undo is not None):
            return UndoStep(step)
    return None


def _finish_failed(playbook: Playbook, state: State, failure: Failure) -> Finish:
    left = remaining_effects(playbook, state)
    what = f"step {failure.step_id}: {failure.why}"
    if failure.reason in _NO_UNDO_AFTER:
        words = f"; left as they are: {', '.join(left)}" if left else ""
        mend = f". {_FENCED_MEND}" if failure.reason == FENCED_BY_TARGET else ""
        return Finish("Failed", failure.reason, what + words + mend)
    if left:
        return Finish("PartialFailure", failure.reason, f"{what}; still in effect: {', '.join(left)}")
    return Finish("Failed", failure.reason, f"{what}; nothing of it remains in effect")


_FENCED_MEND = (
    "Either another controller works on it, or the executor's database was restored from a backup. See "
    "that nothing else works on it, then raise the epoch as docs/states.md says, and ask again"
)


def finish_abandoned(playbook: Playbook, state: State, why: str) -> Finish:
    """The end of an execution that cannot go on for a reason that is no part of any playbook."""
    left = remaining_effects(playbook, state)
    words = f"in effect, or perhaps so: {', '.join(left)}" if left else "nothing of it is in effect"
    return Finish("Failed", UNEXPECTED_ERROR, f"{why}; {words}")


def remaining_effects(playbook: Playbook, state: State) -> list[str]:
    """The steps whose effects are there, or may be."""
    there = (Phase.INTENDED, Phase.DONE, Phase.UNKNOWN, Phase.UNDOING, Phase.UNDO_FAILED)
    return [
        step.id for step in playbook.steps if changes_something(step) and state.step(step.id).phase in there
    ]


def is_behind(state: State, step: Step) -> bool:
    """Whether a step is over, well or ill."""
    return state.step(step.id).phase not in (Phase.FRESH, Phase.INTENDED)


def is_untouched(playbook: Playbook, state: State) -> bool:
    """Whether nothing that changes anything was done or begun: waits and checks are no harm."""
    unbegun = (Phase.FRESH, Phase.SATISFIED)
    return all(state.step(step.id).phase in unbegun for step in playbook.steps if changes_something(step))


def progress(playbook: Playbook, state: State) -> int:
    """The percentage of steps behind us, 0 to 100."""
    behind = sum(state.step(step.id).phase in (Phase.SATISFIED, Phase.DONE) for step in playbook.steps)
    return 100 * behind // len(playbook.steps)


def estimated_completion(
    playbook: Playbook, state: State, usual_s: Mapping[str, float], now: datetime
) -> datetime:
    """When the steps that are left will be done, if they take as long as they usually do."""
    left = sum(
        usual_s.get(step.id, _default_duration(step)) for step in playbook.steps if not is_behind(state, step)
    )
    return now + timedelta(seconds=left)


def _default_duration(step: Step) -> float:
    if isinstance(step.action, Wait):
        return step.action.seconds
    if step.usually_s is not None:
        return step.usually_s
    return min(step.timeout_s / 10, 10.0)


def deadline_at(playbook: Playbook, state: State) -> datetime | None:
    """When the playbook's deadline passes, as far as waits and holds are known by now."""
    if state.started_at is None:
        return None
    return state.started_at + timedelta(seconds=playbook.deadline_s + state.excluded_s)
