"""Playbooks as values: what a component's rollback consists of.

A playbook is kept with the execution that it was accepted for, so that a file which is edited
in the middle of a rollback changes nothing until the next one. Templates in it
(``{target.docrag}``) stay as they were written; addresses are filled in when a step acts.

A field that is added has a default that says nothing (null, false or empty) and means what was done
before: executors of an older release read it, too (``reading_back``).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.rollbacks import PlaybookMode

Honoured = Literal["idempotency_key", "epoch"]
Method = Literal["PUT", "POST", "PATCH", "DELETE"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpCall(_Frozen):
    """A request that changes something.

    ``expect_status`` empty means any of 200 to 299. ``honours`` says what the target promises:
    to apply an idempotency key once, and to refuse an epoch older than one it has seen.
    """

    kind: Literal["http.call"] = "http.call"
    method: Method
    url: str
    body: Any = None
    expect_status: tuple[int, ...] = ()
    honours: tuple[Honoured, ...] = ()


class HttpCheck(_Frozen):
    """A GET whose answer says whether something is so: its status, and a part of its JSON."""

    kind: Literal["http.check"] = "http.check"
    url: str
    status: int = 200
    expect_json: Any = None


class Process(_Frozen):
    """A program from the allow-list, run without a shell. ``repeatable``: twice does no harm."""

    kind: Literal["process"] = "process"
    argv: tuple[str, ...]
    repeatable: bool = False


class ProcessCheck(_Frozen):
    """A program whose exit status says whether something is so: 0 it is, 1 it is not."""

    kind: Literal["process.check"] = "process.check"
    argv: tuple[str, ...]


class Wait(_Frozen):
    """Time that has to pass."""

    kind: Literal["wait"] = "wait"
    seconds: float = Field(ge=0)


class Limit(_Frozen):
    """One number in the answer of a suite (``path``, dotted) and the bound it is held against."""

    name: str
    path: str
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""


class Validate(_Frozen):
    """Run a suite against the component and hold what it measured against limits."""

    kind: Literal["validate"] = "validate"
    suite: str
    call: HttpCall
    limits: tuple[Limit, ...]


Action = Annotated[HttpCall | HttpCheck | Process | Wait | Validate, Field(discriminator="kind")]
Check = Annotated[HttpCheck | ProcessCheck, Field(discriminator="kind")]


class Retry(_Frozen):
    """``backoff_s`` before the second attempt, twice as long before each one after it."""

    attempts: int = Field(default=3, ge=1, le=20)
    backoff_s: float = Field(default=1.0, ge=0)


class Undo(_Frozen):
    """How to take a step back. Without ``observe``: undone is when the step's own says "not so"."""

    action: Annotated[HttpCall | Process, Field(discriminator="kind")]
    observe: Check | None = None


class Step(_Frozen):
    """One step. ``usually_s`` is its usual duration until the journal knows better."""

    id: str
    description: str
    action: Action
    observe: Check | None = None
    undo: Undo | None = None
    timeout_s: float = Field(gt=0)
    retry: Retry = Retry()
    irreversible: bool = False
    usually_s: float | None = None

    @property
    def repeatable(self) -> bool:
        """Whether a second request of the same step can do no harm."""
        return is_repeatable(self.action)

    @property
    def fenced(self) -> bool:
        """Whether the target itself refuses a former owner."""
        action = self.action
        return not isinstance(action, HttpCall | Process) or (
            isinstance(action, HttpCall) and "epoch" in action.honours
        )


class Playbook(_Frozen):
    """A component's rollback."""

    name: str
    mode: PlaybookMode = "auto"
    deadline_s: float = Field(gt=0)
    preserves_data: bool = False
    require: tuple[HttpCheck, ...] = ()
    steps: tuple[Step, ...]
    on_failure: str | None = None

    def step(self, step_id: str) -> Step:
        """The step of that id; raises KeyError."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)


def is_repeatable(action: Action) -> bool:
    """Whether sending the same action again, under its key, can do no harm."""
    match action:
        case HttpCall():
            return "idempotency_key" in action.honours
        case Process():
            return action.repeatable
        case _:
            return True
