"""Whether an accepted execution may go on: the pause, and whether its trigger still stands."""

from __future__ import annotations

from typing import Protocol

from chassis.clock import Clock
from services.executor.domain.execution import Execution
from services.executor.domain.requests import Gates, KnownTrigger, no_longer_wanted


class Standing(Protocol):
    """What the gate asks about."""

    async def pause_holds(self, execution_id: str) -> str | None: ...

    async def wants(self, execution_id: str) -> list[KnownTrigger]: ...


class Gate:
    """Asked between two steps."""

    def __init__(self, standing: Standing, gates: Gates, clock: Clock) -> None:
        self._standing = standing
        self._gates = gates
        self._clock = clock

    async def pause_holds(self, execution_id: str) -> str | None:
        """Why the execution has to wait now, or None."""
        return await self._standing.pause_holds(execution_id)

    async def no_longer_wanted(self, execution: Execution) -> str | None:
        """Why what a trigger asked for must not begin any more, or None; a command stands.

        The triggers that were absorbed into it count as much as the one that it began with.
        """
        if execution.asked_by != "trigger":
            return None
        known = await self._standing.wants(execution.execution_id)
        return no_longer_wanted([one.facts for one in known], self._gates, self._clock.now())
