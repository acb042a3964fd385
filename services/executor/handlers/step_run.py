"""Running one step, or its undo: observe, journal the intent, act, observe, journal.

Whatever instant the process dies at, its successor finds either no intent, and nothing was
done, or an intent, and looks before it does anything.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Histogram

from schemas import rollbacks as events
from schemas.rollbacks import StepStatus
from services.executor.domain.execution import (
    DEADLINE,
    FENCED_BY_TARGET,
    OUTCOME_UNKNOWN,
    STEP_FAILED,
    UNDO_FAILED,
    VALIDATION_FAILED,
    Draft,
    Phase,
    deadline_at,
)
from services.executor.domain.playbook import Action, HttpCheck, Step, Undo, Validate, Wait, is_repeatable
from services.executor.domain.steps import Acted, Do, Landing, Memory, Move, Rule, Seen, Sight, next_move
from services.executor.domain.templates import Names, TemplateError, picked, storable
from services.executor.handlers.execution_log import ExecutionLog
from services.executor.handlers.ports import Actor

_LOOK_TIMEOUT_S = 10.0
_MAX_PRIOR_CHARS = 64_000
_OPPOSITE = {Sight.DONE: Sight.NOT_DONE, Sight.NOT_DONE: Sight.DONE}


@dataclass(frozen=True, slots=True)
class Work:
    """A step, or the undo of one (``undo`` not None), as something to do; ``prior`` is what that restores."""

    step: Step
    undo: Undo | None = None
    prior: Mapping[str, Any] = field(default_factory=dict)

    @property
    def action(self) -> Action:
        return self.undo.action if self.undo is not None else self.step.action

    def key(self, execution_id: str, attempt: int) -> str:
        """The idempotency key: one for the step, one for its undo, whatever the attempt.

        A validation measures, and a second measurement is another one.
        """
        key = f"{execution_id}/{self.step.id}"
        if self.undo is not None:
            return f"{key}/undo"
        return f"{key}/{attempt}" if isinstance(self.step.action, Validate) and attempt > 1 else key


class StepRunner:
    """Runs steps of one executor, one call a step."""

    def __init__(self, actor: Actor, targets: Mapping[str, str], durations: Histogram) -> None:
        self._actor = actor
        self._targets = targets
        self._durations = durations

    async def run(
        self, log: ExecutionLog, work: Work, before_intent: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Run a step until its end is journaled. Raises Fenced and Interrupted, and whatever
        ``before_intent`` raises, which is awaited right before the first intent.

        At a stop, what is known of our own request is journaled first. One that may not be repeated is not
        left before it is settled: the next owner would only know that it was to be made, and call a person.
        """
        memory = _remembered(log, work)
        began = memory.since
        acted: Acted | None = None
        while True:
            leave = acted is None or is_repeatable(work.action)
            if acted is None:
                log.check_interrupted()
            seen = await self._look(log, work, memory, acted)
            move = next_move(_rule(log, work), memory, seen.sight, log.clock.now())
            if move.do is Do.OBSERVE:
                memory = replace(memory, looks=memory.looks + 1)
                await log.rest(move.wait_s, leave=leave)
                continue
            if move.do is not Do.ACT:
                await self._end(log, work, move, seen, memory, acted, began)
                return
            if leave:
                log.check_interrupted()
            if move.wait_s:
                await log.rest(move.wait_s, leave=leave)
                seen = await self._look(log, work, memory, acted)
                if seen.sight is Sight.DONE:
                    continue
            if before_intent is not None and memory.attempts == 0:
                await before_intent()
            try:
                memory = await self._intend(log, work, memory, seen)
            except TemplateError as error:
                await self._end(
                    log, work, Move(Do.FAIL, "g", f"its undo: {error}"), seen, memory, acted, began
                )
                return
            acted = await self._act(log, work, memory)
            memory = replace(memory, landing=acted.landing, retryable=acted.retryable, detail=acted.detail)

    async def meets(self, log: ExecutionLog, check: HttpCheck, timeout_s: float) -> Seen:
        """Look until it is so, or until ``timeout_s`` has passed. Raises Fenced and Interrupted."""
        memory = Memory(since=log.clock.now())
        rule = Rule(attempts=1, backoff_s=0, timeout_s=timeout_s, repeatable=True, check_only=True)
        each_s = min(timeout_s, _LOOK_TIMEOUT_S)
        while True:
            seen = await self._actor.observe(check, self._names(log), timeout_s=each_s)
            move = next_move(rule, memory, seen.sight, log.clock.now())
            if move.do is not Do.OBSERVE:
                return seen
            memory = replace(memory, looks=memory.looks + 1)
            await log.rest(move.wait_s)

    async def _look(self, log: ExecutionLog, work: Work, memory: Memory, acted: Acted | None) -> Seen:
        log.failpoints.reach("executor.before-observe")
        step = work.step
        if isinstance(work.action, Wait):
            return _waited(work.action, memory, log.state.step(step.id).intended_at, log.clock.now())
        timeout_s = min(step.timeout_s, _LOOK_TIMEOUT_S)
        check = work.undo.observe if work.undo is not None else step.observe
        if isinstance(work.action, HttpCheck):
            check = work.action
        if check is not None:
            seen = await self._actor.observe(check, self._names(log), timeout_s=timeout_s)
        elif work.undo is not None and step.observe is not None:
            seen = await self._actor.observe(step.observe, self._names(log), timeout_s=timeout_s)
            seen = replace(seen, sight=_OPPOSITE.get(seen.sight, seen.sight))
        else:
            seen = _unobserved(work.action, memory, acted)
        log.failpoints.reach("executor.after-observe")
        return seen

    async def _intend(self, log: ExecutionLog, work: Work, memory: Memory, seen: Seen) -> Memory:
        """Journal the intent. A former owner's is taken up under its number. Raises TemplateError."""
        attempt = memory.attempts if memory.resumed else memory.attempts + 1
        details: dict[str, Any] = {}
        if memory.attempts == 0 and work.undo is None:
            details["prior"] = _bounded(seen.value)
            if work.step.undo is not None:
                details["undo"] = work.step.undo.model_dump(mode="json")
                details["undo_prior"] = picked(details["undo"]["action"], seen.value)
        log.check_held()
        log.failpoints.reach("executor.before-intent")
        await log.record(
            Draft(
                kind="step_started" if work.undo is None else "undo_started",
                reason="resumed" if memory.resumed else "retried" if memory.attempts else "not_done",
                why=memory.detail or seen.detail,
                step=_shown(log, work, "running", attempt),
                memory=details,
            )
        )
        log.failpoints.reach("executor.after-intent")
        # A second measurement does not depend on what became of the first.
        in_doubt = memory.may_land and not isinstance(work.action, Validate)
        return Memory(since=log.clock.now(), attempts=attempt, in_doubt=in_doubt)

    async def _act(self, log: ExecutionLog, work: Work, memory: Memory) -> Acted:
        log.check_held()
        log.failpoints.reach("executor.before-act")
        acted = await self._actor.act(
            work.action,
            replace(self._names(log), prior=work.prior),
            key=work.key(log.execution.execution_id, memory.attempts),
            epoch=log.claim.epoch,
            timeout_s=work.step.timeout_s,
        )
        log.failpoints.reach("executor.after-act")
        return acted

    async def _end(
        self,
        log: ExecutionLog,
        work: Work,
        move: Move,
        seen: Seen,
        memory: Memory,
        acted: Acted | None,
        began: datetime,
    ) -> None:
        seconds = round((log.clock.now() - began).total_seconds(), 3)
        attempt = max(memory.attempts, 1)
        checks = acted.checks if acted is not None else ()
        drafts = []
        if isinstance(work.action, Validate) and checks:
            status: StepStatus = "done" if move.do is Do.COMPLETE else "failed"
            step = _shown(log, work, status, attempt, seconds, move.reason)
            outcome = "passed" if status == "done" else "failed"
            drafts.append(Draft("validated", outcome, move.reason, step, checks=checks))
        if move.do in (Do.SATISFIED, Do.COMPLETE):
            drafts.append(_completed(log, work, move, attempt, seconds, seen.detail))
            self._durations.labels(step=work.step.id).observe(seconds)
        else:
            drafts.append(_failed(log, work, move, attempt, seconds, seen))
        log.failpoints.reach("executor.before-completion")
        await log.record(*drafts)

    def _names(self, log: ExecutionLog) -> Names:
        return Names(log.execution.component, log.execution.execution_id, self._targets)


def _remembered(log: ExecutionLog, work: Work) -> Memory:
    """What is known of a step at its beginning: nothing, or a former owner's open intent."""
    now = log.clock.now()
    state = log.state.step(work.step.id)
    open_phase = Phase.INTENDED if work.undo is None else Phase.UNDOING
    if state.phase is not open_phase:
        return Memory(since=now)
    return Memory(since=now, attempts=state.attempts, resumed=True)


def _rule(log: ExecutionLog, work: Work) -> Rule:
    step = work.step
    unlimited = work.undo is not None or isinstance(work.action, Wait)
    return Rule(
        attempts=step.retry.attempts,
        backoff_s=step.retry.backoff_s,
        timeout_s=step.timeout_s,
        repeatable=is_repeatable(work.action),
        observable=_is_observable(work),
        check_only=isinstance(work.action, HttpCheck),
        deadline=None if unlimited else deadline_at(log.execution.playbook, log.state),
    )


def _is_observable(work: Work) -> bool:
    """Whether a look tells more than the answer did; time and checks can always be looked at."""
    if work.undo is not None and work.undo.observe is not None:
        return True
    return work.step.observe is not None or isinstance(work.action, Wait | HttpCheck)


def _waited(wait: Wait, memory: Memory, intended_at: datetime | None, now: datetime) -> Seen:
    if memory.attempts == 0 or intended_at is None:
        return Seen(Sight.NOT_DONE, "the wait has not begun")
    over = now - intended_at >= timedelta(seconds=wait.seconds)
    return Seen(Sight.DONE if over else Sight.IN_PROGRESS, f"waits {wait.seconds:g} s")


def _unobserved(action: Action, memory: Memory, acted: Acted | None) -> Seen:
    """What the act itself tells, where there is nothing to look at."""
    if memory.attempts == 0:
        return Seen(Sight.NOT_DONE, "not begun")
    if acted is None:
        measured = isinstance(action, Validate)
        return Seen(Sight.NOT_DONE if measured else Sight.UNKNOWN, "what became of it is not known")
    sights = {Landing.APPLIED: Sight.DONE, Landing.UNKNOWN: Sight.UNKNOWN}
    return Seen(sights.get(acted.landing, Sight.NOT_DONE), acted.detail)


def _completed(log: ExecutionLog, work: Work, move: Move, attempt: int, seconds: float, detail: str) -> Draft:
    if work.undo is not None:
        step = _shown(log, work, "undone", attempt, seconds, detail)
        return Draft("step_undone", "undone", move.reason, step)
    satisfied = move.do is Do.SATISFIED
    step = _shown(log, work, "already_satisfied" if satisfied else "done", attempt, seconds, detail)
    return Draft("step_completed", "already_satisfied" if satisfied else "done", move.reason, step)


def _failed(
    log: ExecutionLog,
    work: Work,
    move: Move,
    attempt: int,
    seconds: float,
    seen: Seen,
) -> Draft:
    unknown = move.do is Do.GIVE_UP
    step = _shown(log, work, "unknown" if unknown else "failed", attempt, seconds, seen.detail)
    if move.letter == "o":
        return Draft("step_failed", FENCED_BY_TARGET, move.reason, step, memory={"may_land": unknown})
    if work.undo is not None:
        reason = UNDO_FAILED
    elif isinstance(work.action, Validate):
        # One that could not be made is no better than one that failed: nothing is verified.
        reason = VALIDATION_FAILED
    elif unknown:
        reason = OUTCOME_UNKNOWN
    else:
        reason = DEADLINE if move.letter == "j" else STEP_FAILED
    return Draft("step_failed", reason, move.reason, step)


def _shown(
    log: ExecutionLog,
    work: Work,
    status: StepStatus,
    attempt: int,
    seconds: float | None = None,
    detail: str = "",
) -> events.Step:
    steps = log.execution.playbook.steps
    return events.Step(
        id=work.step.id,
        index=[step.id for step in steps].index(work.step.id) + 1,
        of=len(steps),
        action=work.action.kind,
        status=status,
        attempt=attempt,
        duration_s=seconds,
        detail=detail,
    )


def _bounded(value: Any) -> Any:
    """The prior value, as long as it is of a size for a journal; the undo was filled in from all of it."""
    kept = storable(value)
    text = json.dumps(kept, ensure_ascii=False)
    return kept if len(text) <= _MAX_PRIOR_CHARS else {"too_large": len(text)}
