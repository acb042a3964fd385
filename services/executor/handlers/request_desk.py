"""Carrying a decision about a request out: begin, announce, absorb or refuse, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prometheus_client import Counter

from chassis.clock import Clock
from chassis.postgres import Connection
from schemas.commands import RollbackCommand, RollbackMode
from schemas.rollbacks import RollbackKind
from services.executor.domain.execution import AskedBy, Draft, Execution, RequestEntry
from services.executor.domain.plan import execution_id_of, plan_hash, plan_of
from services.executor.domain.playbook import Playbook
from services.executor.domain.requests import (
    Decision,
    Gates,
    KnownTrigger,
    Live,
    PlaybookFacts,
    Reason,
    decide_command,
    decide_trigger,
)
from services.executor.domain.templates import storable_text
from services.executor.handlers.ports import PlaybookSource, RequestJournal, Requests

_COMPONENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
# Reasons to go on with, each of which is settled by an execution.
_SETTLING = (Reason.ACCEPTED, Reason.SHADOWED, Reason.ABSORBED)


@dataclass(frozen=True, slots=True)
class Request:
    """A trigger or a command, as far as an execution remembers it."""

    request_id: str
    event_id: str
    asked_by: AskedBy
    component: str
    mode: RollbackMode
    heeds_pause: bool
    reason: str
    incident_id: str
    declined: int = 0
    traceparent: str | None = None


class RequestDesk:
    """Decides about requests, one transaction each; the caller owns the transaction."""

    def __init__(
        self,
        requests: Requests,
        journal: RequestJournal,
        playbooks: PlaybookSource,
        gates: Gates,
        clock: Clock,
        decisions: Counter,
    ) -> None:
        self._requests = requests
        self._journal = journal
        self._playbooks = playbooks
        self._gates = gates
        self._clock = clock
        self._decisions = decisions

    async def trigger(self, connection: Connection, trigger_id: str) -> Reason | None:
        """Decide about a trigger's newest announcement; None where that was done meanwhile."""
        known = await self._requests.lock(connection, trigger_id)
        if known is None:
            return None
        target = known.event.action.target
        playbook = self._playbooks.get(target)
        while True:
            world = await self._requests.world(connection, target, _facts(playbook))
            decision = decide_trigger(known.facts, world, self._gates, self._clock.now())
            request = _of_trigger(known)
            settled_by = await self._carry_out(
                connection, request, decision, playbook, silent=decision.reason.value in known.announced
            )
            if settled_by is not None or decision.reason not in _SETTLING:
                break
        await self._requests.decided(
            connection, trigger_id, settled_by=settled_by, announced=decision.reason.value
        )
        return decision.reason

    async def command(self, connection: Connection, event_id: str, command: RollbackCommand) -> Reason:
        """Decide about a command."""
        playbook = self._playbooks.get(command.component)
        request = _of_command(event_id, command)
        while True:
            world = await self._requests.world(connection, command.component, _facts(playbook))
            decision = decide_command(command, world, self._gates, self._clock.now())
            settled_by = await self._carry_out(connection, request, decision, playbook, silent=False)
            if settled_by is not None or decision.reason not in _SETTLING:
                return decision.reason

    async def _carry_out(
        self,
        connection: Connection,
        request: Request,
        decision: Decision,
        playbook: Playbook | None,
        *,
        silent: bool,
    ) -> str | None:
        """The id of the execution that settles the request; None where none does, or another one
        began or ended between the look and the act, and the decision has to be made again."""
        if decision.reason not in _SETTLING:
            self._decisions.labels(reason=decision.reason.value).inc()
            if not silent:
                await self._note(connection, request, "refused", decision, request.incident_id)
            return None
        settled_by = await self._settle(connection, request, decision, playbook)
        if settled_by is not None:
            self._decisions.labels(reason=decision.reason.value).inc()
        return settled_by

    async def _settle(
        self, connection: Connection, request: Request, decision: Decision, playbook: Playbook | None
    ) -> str | None:
        if decision.reason is Reason.ABSORBED:
            live = await self._requests.live(connection, request.component, lock=True)
            return None if live is None else await self._absorb(connection, request, decision, live)
        assert playbook is not None  # noqa: S101 - without one the decision is no_playbook
        execution = _execution(request, playbook)
        if decision.reason is Reason.SHADOWED:
            draft = Draft("planned", "shadow", request.reason, plan=plan_of(playbook))
            await self._journal.announce_plan(connection, execution, draft)
            return execution.execution_id
        begun = await self._journal.begin(connection, execution)
        return execution.execution_id if begun else None

    async def _absorb(self, connection: Connection, request: Request, decision: Decision, live: Live) -> str:
        memory = {"into": live.execution_id, "asked_by": request.asked_by}
        await self._note(connection, request, "absorbed", decision, live.incident_id, memory)
        if not request.heeds_pause:
            await self._requests.ignore_pause(connection, live.execution_id)
        return live.execution_id

    async def _note(
        self,
        connection: Connection,
        request: Request,
        kind: RollbackKind,
        decision: Decision,
        incident_id: str,
        memory: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        draft = Draft(kind, decision.reason.value, decision.why, memory=memory)
        entry = RequestEntry(
            request.request_id, request.component, incident_id, request.event_id, draft, request.traceparent
        )
        await self._journal.note_request(connection, entry)


def _facts(playbook: Playbook | None) -> PlaybookFacts | None:
    if playbook is None:
        return None
    return PlaybookFacts(shadow=playbook.mode == "shadow", preserves_data=playbook.preserves_data)


def _of_trigger(known: KnownTrigger) -> Request:
    trigger = known.event
    target = trigger.action.target
    return Request(
        request_id=trigger.trigger_id,
        event_id=known.event_id,
        asked_by="trigger",
        component=target if _COMPONENT.match(target) else trigger.component,
        mode="emergency" if trigger.immediate else "planned",
        heeds_pause=not trigger.immediate,
        reason=f"{trigger.trigger}: {trigger.why}",
        incident_id=trigger.trigger_id,
        declined=known.declined,
        traceparent=known.traceparent,
    )


def _of_command(event_id: str, command: RollbackCommand) -> Request:
    return Request(
        request_id=event_id,
        event_id=event_id,
        asked_by="command",
        component=command.component,
        mode=command.mode,
        heeds_pause=command.mode != "emergency",
        reason=storable_text(command.reason) or f"asked for by {command.issued_by}",
        incident_id=event_id,
    )


def _execution(request: Request, playbook: Playbook) -> Execution:
    return Execution(
        execution_id=execution_id_of(request.request_id, declined=request.declined),
        component=request.component,
        requested_by=request.request_id,
        asked_by=request.asked_by,
        cause_id=request.event_id,
        incident_id=request.incident_id,
        mode=request.mode,
        heeds_pause=request.heeds_pause,
        reason=request.reason,
        playbook=playbook,
        plan_hash=plan_hash(playbook),
        traceparent=request.traceparent,
    )
