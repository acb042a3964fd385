"""What the handlers need of the world outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from chassis.postgres import Connection
from schemas.triggers import TriggerEvent
from services.executor.domain.execution import Draft, Entry, Execution, RequestEntry, Standing
from services.executor.domain.playbook import Action, HttpCheck, Playbook, ProcessCheck
from services.executor.domain.requests import KnownTrigger, Live, PlaybookFacts, World
from services.executor.domain.steps import Acted, Seen
from services.executor.domain.templates import Names


class Claim(Protocol):
    """A held lease, as far as a running execution sees it."""

    @property
    def epoch(self) -> int: ...

    def still_held(self) -> bool: ...


class Actor(Protocol):
    """Acts on targets and looks at them."""

    async def act(self, action: Action, names: Names, *, key: str, epoch: int, timeout_s: float) -> Acted: ...

    async def observe(self, check: HttpCheck | ProcessCheck, names: Names, *, timeout_s: float) -> Seen: ...


class Writer(Protocol):
    """Appends to the journal under one lease; raises Fenced where that is no longer ours.

    What declines an execution is not written, and raises StillWanted, where a command waits for it.
    """

    async def append(
        self,
        execution: Execution,
        written: Sequence[tuple[Entry, Draft, Standing]],
        *,
        follow: Execution | None = None,
    ) -> None: ...


class Gatekeeper(Protocol):
    """Says whether an execution may go on."""

    async def pause_holds(self, execution_id: str) -> str | None:
        """Why it has to wait between two steps now, or None."""
        ...

    async def no_longer_wanted(self, execution: Execution) -> str | None:
        """Why an execution that has done nothing yet must not begin any more, or None."""
        ...


class PlaybookSource(Protocol):
    def get(self, component: str) -> Playbook | None: ...


class Requests(Protocol):
    """What is known of requests; the methods with a connection run in a decision's transaction."""

    async def note(
        self, connection: Connection, event_id: str, trigger: TriggerEvent, traceparent: str | None
    ) -> None:
        """Keep what a trigger's event tells, unless something newer (by T) is known."""
        ...

    async def due(self) -> list[str]:
        """The triggers with an announcement that was not decided, oldest first."""
        ...

    async def lock(self, connection: Connection, trigger_id: str) -> KnownTrigger | None:
        """The trigger, if it is still to be decided; nobody else decides it meanwhile."""
        ...

    async def decided(
        self, connection: Connection, trigger_id: str, *, settled_by: str | None, announced: str | None
    ) -> None:
        """The newest announcement was decided; ``announced`` is the reason announced now, if any."""
        ...

    async def live(self, connection: Connection, component: str, *, lock: bool = False) -> Live | None:
        """The live execution; with ``lock`` it does not end before this transaction does."""
        ...

    async def world(
        self, connection: Connection, component: str, playbook: PlaybookFacts | None
    ) -> World: ...

    async def set_paused(
        self, connection: Connection, *, paused: bool, reason: str, by: str, at: datetime
    ) -> None: ...

    async def ignore_pause(self, connection: Connection, execution_id: str) -> None:
        """A person's emergency: the pause no longer holds this execution."""
        ...


class RequestJournal(Protocol):
    """Journals what becomes of requests, in the decision's transaction."""

    async def begin(self, connection: Connection, execution: Execution) -> bool:
        """Insert a live execution, unless it is there; False where its component has another."""
        ...

    async def announce_plan(self, connection: Connection, execution: Execution, draft: Draft) -> None: ...

    async def note_request(self, connection: Connection, item: RequestEntry) -> None: ...


class HeldExecution(Protocol):
    """An execution whose component's lease this process holds, as its journal tells it."""

    @property
    def execution(self) -> Execution: ...
    @property
    def entries(self) -> list[Entry]: ...
    @property
    def claim(self) -> Claim: ...
    @property
    def writer(self) -> Writer: ...
    @property
    def usual_s(self) -> Mapping[str, float]: ...


class Executions(Protocol):
    """The live executions, and taking one over."""

    @property
    def lease_s(self) -> float: ...

    async def orphans(self, *, triggers_read: bool) -> list[str]:
        """Live executions that nobody works on; until the triggers were read to their end, without
        those that a trigger asked for and that have not begun."""
        ...

    def take(self, execution_id: str) -> AbstractAsyncContextManager[HeldExecution | None]:
        """Hold the execution; None where another owner has it, or it has ended. Raises NotUnderstood
        where it takes a newer release to go on with it."""
        ...
