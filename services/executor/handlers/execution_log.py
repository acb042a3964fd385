"""A running execution's hand on its journal: what was written, and where it stands after that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chassis.clock import Clock
from chassis.errors import Fenced
from chassis.failpoints import Failpoints
from services.executor.domain.execution import (
    Draft,
    Entry,
    Execution,
    Standing,
    State,
    after,
    as_entry,
    estimated_completion,
    fold,
    progress,
)
from services.executor.handlers.ports import Claim, Writer


class Interrupted(Exception):
    """The process is asked to stop: the execution is left as its journal says, for the next owner."""


@dataclass(slots=True)
class ExecutionLog:
    """One execution in the hands of one owner."""

    execution: Execution
    claim: Claim
    writer: Writer
    clock: Clock
    stop: asyncio.Event
    failpoints: Failpoints
    usual_s: Mapping[str, float]
    state: State = field(default_factory=State)

    def resume(self, entries: Sequence[Entry]) -> None:
        """Stand where a former owner stood."""
        self.state = fold(self.execution.playbook, entries)

    async def record(self, *drafts: Draft, follow: Execution | None = None) -> None:
        """Journal these entries together. Raises Fenced where the lease is no longer ours."""
        state = self.state
        now = self.clock.now()
        written = []
        for draft in drafts:
            entry = as_entry(draft, state.sequence + 1, now, self.claim.epoch)
            state = after(self.execution.playbook, state, entry)
            written.append((entry, draft, self._standing(state, draft)))
        await self.writer.append(self.execution, written, follow=follow)
        self.state = state
        self.failpoints.reach("executor.after-journal")

    async def rest(self, seconds: float, *, leave: bool = True) -> None:
        """Wait. Raises Fenced when the lease is lost, and Interrupted when the process is asked to stop,
        unless it may not ``leave`` what is under way."""
        if not leave:
            await asyncio.sleep(seconds)
            self.check_held()
            return
        self.check_interrupted()
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            pass
        self.check_interrupted()
        self.check_held()

    def check_interrupted(self) -> None:
        if self.stop.is_set():
            raise Interrupted

    def check_held(self) -> None:
        """Raise Fenced where somebody else may have taken over: to be called right before an act."""
        if not self.claim.still_held():
            raise Fenced(f"the lease of {self.execution.component} ran out")

    def _standing(self, state: State, draft: Draft) -> Standing:
        playbook = self.execution.playbook
        if draft.kind == "refused":
            return Standing("declined", 0, None)
        if draft.kind == "completed":
            done = 100 if draft.status == "Success" else progress(playbook, state)
            return Standing("ended", done, None, draft.status)
        eta = estimated_completion(playbook, state, self.usual_s, self.clock.now())
        failed = state.failure is not None
        return Standing(
            "held" if state.held else "running", progress(playbook, state), None if failed else eta
        )
