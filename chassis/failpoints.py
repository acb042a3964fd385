"""Places at which a test may kill or stop the process.

A failpoint is named where the interesting instants are: before the intent is journaled,
after the act, before the outbox is sent. ``BACKOUT_FAILPOINTS`` arms them, for example
``executor.after-act=kill@2,notifier.before-send=hang``: kill at the second pass, or stay
there for ever (``freeze``: until a SIGCONT). Unarmed (always, in production) a pass is one
dictionary look-up.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.errors import ConfigError

_ACTIONS = ("kill", "freeze", "hang", "raise")


class FailpointReached(RuntimeError):
    """Raised where a failpoint is armed with ``raise``."""


@dataclass(slots=True)
class _Armed:
    action: str
    at_pass: int
    passes: int = 0


@dataclass(slots=True)
class Failpoints:
    """The armed failpoints of this process, by name."""

    armed: dict[str, _Armed] = field(default_factory=dict)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Failpoints:
        """Read ``BACKOUT_FAILPOINTS``; raises ConfigError for a text that is not of its form."""
        armed: dict[str, _Armed] = {}
        for item in filter(None, (part.strip() for part in environ.get("BACKOUT_FAILPOINTS", "").split(","))):
            name, _, rest = item.partition("=")
            action, _, at_pass = rest.partition("@")
            if not name or action not in _ACTIONS or not re.fullmatch("[1-9][0-9]{0,8}", at_pass or "1"):
                raise ConfigError(
                    f"{item!r} is not a failpoint",
                    place="BACKOUT_FAILPOINTS",
                    mend=f"Write name=action[@pass], with an action of {', '.join(_ACTIONS)}",
                )
            armed[name] = _Armed(action, int(at_pass or 1))
        return cls(armed)

    def reach(self, name: str) -> None:
        """Pass the failpoint ``name``: nothing happens unless it is armed for this pass."""
        point = self.armed.get(name)
        if point is None:
            return
        point.passes += 1
        if point.passes != point.at_pass:
            return
        if point.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if point.action == "freeze":
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        if point.action == "raise":
            raise FailpointReached(name)
        while True:
            time.sleep(3600)
