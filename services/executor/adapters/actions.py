"""Every action and check of a playbook, by the adapter that carries it out."""

from __future__ import annotations

from services.executor.adapters.http_actions import HttpActions
from services.executor.adapters.process_actions import ProcessActions
from services.executor.domain.playbook import (
    Action,
    HttpCall,
    HttpCheck,
    Process,
    ProcessCheck,
    Validate,
)
from services.executor.domain.steps import Acted, Landing, Seen
from services.executor.domain.templates import Names


class Actions:
    """Carries out what a playbook names."""

    def __init__(self, http: HttpActions, processes: ProcessActions) -> None:
        self._http = http
        self._processes = processes

    async def act(self, action: Action, names: Names, *, key: str, epoch: int, timeout_s: float) -> Acted:
        """Act once, within ``timeout_s``."""
        match action:
            case HttpCall():
                return await self._http.call(action, names, key=key, epoch=epoch, timeout_s=timeout_s)
            case Validate():
                return await self._http.validate(action, names, key=key, epoch=epoch, timeout_s=timeout_s)
            case Process():
                return await self._processes.run(action, names, key=key, epoch=epoch, timeout_s=timeout_s)
            case _:
                # Time passes, and a check changes nothing.
                return Acted(Landing.APPLIED, "")

    async def observe(self, check: HttpCheck | ProcessCheck, names: Names, *, timeout_s: float) -> Seen:
        """Look once, within ``timeout_s``."""
        if isinstance(check, HttpCheck):
            return await self._http.check(check, names, timeout_s=timeout_s)
        return await self._processes.check(check, names, timeout_s=timeout_s)
