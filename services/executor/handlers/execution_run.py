"""Running one execution from where its journal stands to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import structlog
from prometheus_client import Counter

from schemas.rollbacks import RollbackStatus
from services.executor.domain.execution import (
    FENCED_BY_TARGET,
    REQUIRE_NOT_MET,
    Draft,
    Entry,
    Execution,
    Finish,
    Phase,
    RunStep,
    StillWanted,
    UndoStep,
    finish_abandoned,
    is_untouched,
    next_task,
)
from services.executor.domain.plan import execution_id_of, plan_hash, plan_of
from services.executor.domain.playbook import Playbook, Undo
from services.executor.domain.reading_back import read_back
from services.executor.domain.requests import Reason
from services.executor.domain.steps import Sight
from services.executor.handlers.execution_log import ExecutionLog
from services.executor.handlers.ports import Gatekeeper, PlaybookSource
from services.executor.handlers.step_run import StepRunner, Work

log = structlog.get_logger(__name__)
REQUIRE_TIMEOUT_S = 10.0
_PAUSE_POLL_S = 0.5

LogMaker = Callable[[Execution], ExecutionLog]


class _Unwanted(Exception):
    """Nothing was done yet, and nobody wants it any more."""


class ExecutionRunner:
    """Runs executions, one call each; the caller holds the component's lease."""

    def __init__(
        self, steps: StepRunner, gate: Gatekeeper, playbooks: PlaybookSource, ended: Counter
    ) -> None:
        self._steps = steps
        self._gate = gate
        self._playbooks = playbooks
        self._ended = ended

    async def run(self, run: ExecutionLog, entries: list[Entry]) -> None:
        """Go on to the end. Raises Fenced when the lease is lost, Interrupted at a stop, and NotUnderstood
        where it takes a newer release to go on."""
        run.resume(entries)
        try:
            await self._begin(run, entries)
            await self._go_on(run)
        except _Unwanted as unwanted:
            await self._decline(run, str(unwanted))

    async def abandon(self, run: ExecutionLog, entries: list[Entry], why: str) -> None:
        """End what cannot go on, as a failure that a person has to look into. Raises Fenced."""
        run.resume(entries)
        await self._finish(run, finish_abandoned(run.execution.playbook, run.state, why))

    async def _begin(self, run: ExecutionLog, entries: list[Entry]) -> None:
        execution = run.execution
        if entries:
            words = f"goes on after entry {entries[-1].sequence}, under epoch {run.claim.epoch}"
            await run.record(Draft("owner_changed", "lease_taken_over", words))
        else:
            await self._check_wanted(run)
            plan = plan_of(execution.playbook)
            await run.record(Draft("started", "accepted", execution.reason, plan=plan))
        log.info("rollback runs", execution=execution.execution_id, component=execution.component)

    async def _go_on(self, run: ExecutionLog) -> None:
        execution = run.execution
        refusal = await self._unfit(run)
        if refusal is not None:
            await self._finish(run, refusal)
            return
        while True:
            run.check_interrupted()
            task = next_task(execution.playbook, run.state)
            match task:
                case Finish():
                    await self._finish(run, task)
                    return
                case RunStep():
                    await self._hold(run, task)
                    await self._steps.run(run, Work(task.step), lambda: self._check_wanted(run))
                case UndoStep():
                    await self._hold(run, task)
                    known = run.state.step(task.step.id)
                    undo = task.step.undo if known.undo is None else read_back(Undo, dict(known.undo))
                    await self._steps.run(run, Work(task.step, undo, known.undo_prior))

    async def _unfit(self, run: ExecutionLog) -> Finish | None:
        """Whether the target is fit to be restored to, where nothing was done yet."""
        if not is_untouched(run.execution.playbook, run.state):
            return None
        for check in run.execution.playbook.require:
            seen = await self._steps.meets(run, check, REQUIRE_TIMEOUT_S)
            if seen.sight is not Sight.DONE:
                await self._check_wanted(run)
                return Finish("Failed", REQUIRE_NOT_MET, f"nothing was done: {check.url}: {seen.detail}")
        return None

    async def _check_wanted(self, run: ExecutionLog) -> None:
        """Raise _Unwanted where nothing was done yet and what asked for it no longer stands.

        Asked before it is announced and right before the first act, since minutes may lie between.
        """
        if not is_untouched(run.execution.playbook, run.state):
            return
        why = await self._gate.no_longer_wanted(run.execution)
        if why is not None:
            raise _Unwanted(why)

    async def _decline(self, run: ExecutionLog, why: str) -> None:
        """End it as a refusal: nothing failed, so nothing follows and nobody is called."""
        try:
            await run.record(Draft("refused", Reason.STALE.value, f"nothing was done: {why}"))
        except StillWanted:
            if run.state.started_at is None:
                await self._begin(run, [])
            await self._go_on(run)
            return
        log.info("rollback declined", execution=run.execution.execution_id, why=why)

    async def _hold(self, run: ExecutionLog, task: RunStep | UndoStep) -> None:
        """Wait between two steps while rollbacks are paused; a step in flight is settled first."""
        if run.state.step(task.step.id).phase in (Phase.INTENDED, Phase.UNDOING):
            return
        identity = run.execution.execution_id
        why = await self._gate.pause_holds(identity)
        if why is None and not run.state.held:
            return
        if not run.state.held:
            await run.record(Draft("held", "paused", why or ""))
        while await self._gate.pause_holds(identity) is not None:
            await run.rest(_PAUSE_POLL_S)
        await run.record(Draft("continued", "resumed"))

    async def _finish(self, run: ExecutionLog, finish: Finish) -> None:
        status, why, follow = self._follow(run.execution, finish)
        drafts = []
        if status != "Success":
            drafts.append(Draft("escalation_required", finish.reason, why, status=status))
        drafts.append(Draft("completed", finish.reason, why, status=status))
        if follow is not None:
            cause = f"{run.execution.execution_id}/{run.state.sequence + len(drafts)}"
            follow = replace(follow, cause_id=cause)
        run.failpoints.reach("executor.before-end")
        await run.record(*drafts, follow=follow)
        self._ended.labels(status=status).inc()
        log.info("rollback ended", execution=run.execution.execution_id, status=status, reason=finish.reason)

    def _follow(self, execution: Execution, finish: Finish) -> tuple[RollbackStatus, str, Execution | None]:
        """What ``on_failure`` leads to: the status and why, and the execution that goes on."""
        name = execution.playbook.on_failure
        if finish.status == "Success" or name is None:
            return finish.status, finish.why, None
        playbook = self._playbooks.get(name)
        problem = _why_not(playbook, finish)
        if playbook is None or problem is not None:
            words = f"{finish.why}; on_failure: the rollback of {name} cannot run: {problem}"
            return "CriticalFailure", words, None
        follow = Execution(
            execution_id=execution_id_of(execution.requested_by, component=name),
            component=name,
            requested_by=execution.requested_by,
            asked_by="on_failure",
            cause_id=execution.cause_id,
            incident_id=execution.incident_id,
            mode=execution.mode,
            heeds_pause=execution.heeds_pause,
            reason=f"on_failure of {execution.component}: {finish.why}",
            playbook=playbook,
            plan_hash=plan_hash(playbook),
            traceparent=execution.traceparent,
        )
        return finish.status, f"{finish.why}; on_failure: the rollback of {name} goes on", follow


def _why_not(playbook: Playbook | None, finish: Finish) -> str | None:
    """Why the rollback that ``on_failure`` names cannot run, or None."""
    if finish.reason == FENCED_BY_TARGET:
        return "it could cross whoever the target obeys"
    if playbook is None:
        return "there is no playbook of that name"
    return None if playbook.mode == "auto" else "it is in shadow mode"
