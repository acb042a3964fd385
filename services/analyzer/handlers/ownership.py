"""Of several analyzers one writes: the one that the group gave the topics to last.

The group alone cannot see to that. A process that was frozen, or cut off, while the topics went to
another still believes in what it was doing when it goes on. So whoever is given the topics takes over
in the store, which takes nothing from a former owner, and makes its table what the store knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from chassis.clock import Clock
from chassis.errors import Fenced, PermanentError

log = structlog.get_logger(__name__)


class Ownership:
    """Takes over once in each generation in which the group has given this process the topics.

    ``generation`` counts how often the group has given them out, as this process knows it. Who was
    fenced in a generation soon learns of the next one; for longer than ``patience_s`` it does not wait.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        generation: Callable[[], int],
        take_over: Callable[[], Awaitable[None]],
        patience_s: float,
    ) -> None:
        self._clock = clock
        self._generation = generation
        self._take_over = take_over
        self._patience_s = patience_s
        self._held: int | None = None
        self._lost: int | None = None
        self._lost_at = 0.0
        self._taking_over = asyncio.Lock()

    async def do(self, generation: int, work: Callable[[], Awaitable[object]]) -> bool:
        """Do ``work`` as the owner in a generation; False where others own the topics now.

        What ``work`` wrote until it was fenced is void. Raises PermanentError where another has taken
        over and the group still says that the topics are ours, and what ``work`` raises.
        """
        if not await self._owns(generation):
            return False
        try:
            await work()
        except Fenced as error:
            log.warning("left to the owner of the topics", generation=generation, error=str(error))
            self._held, self._lost, self._lost_at = None, generation, self._clock.monotonic()
            return False
        return True

    async def _owns(self, generation: int) -> bool:
        async with self._taking_over:
            # The group may have given the topics out anew: until somebody takes over, they are ours.
            if generation == self._held:
                return True
            if generation != self._generation():
                return False
            if generation == self._lost:
                self._check_patience()
                return False
            await self._take_over()
            self._held = generation
            return True

    def _check_patience(self) -> None:
        if self._clock.monotonic() - self._lost_at > self._patience_s:
            raise PermanentError(
                f"another analyzer has taken over, but for {self._patience_s:g} s the group has given the "
                f"topics to nobody else: a new start joins it anew"
            )
