"""What can go wrong before an embedded server answers, each with its mend."""

from __future__ import annotations

from chassis.errors import BackoutError


class EmbeddedError(BackoutError):
    """An embedded server cannot be started or has ended.

    ``problem`` is what was found, ``mend`` what a person does about it.
    """

    def __init__(self, problem: str, *, mend: str) -> None:
        super().__init__(f"{problem}. {mend}")
        self.problem = problem
        self.mend = mend


class AlreadyRunning(EmbeddedError):
    """Another live process owns this state directory."""

    def __init__(self, what: str, owner_pid: int | None) -> None:
        owner = "another running process" if owner_pid is None else f"the running process {owner_pid}"
        super().__init__(
            f"{what} is in use by {owner}",
            mend=f"Stop that one with `BACKOUT_STATE_DIR={what} backout down`, or use another directory",
        )
        self.owner_pid = owner_pid
