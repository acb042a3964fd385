"""Reading playbooks from ``config/playbooks/<component>.yml``.

A playbook is read on a quiet day and used on the worst one: whatever can be found wrong with
it is found when it is read, with the line and what to write instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import ConfigError
from chassis.settings import ExecutorSettings
from chassis.yaml_source import Located, Problems, load_yaml_file
from schemas.commands import FULL_SYSTEM
from services.executor.adapters.playbook_actions import Reader, duration
from services.executor.domain.playbook import (
    HttpCall,
    HttpCheck,
    Playbook,
    Process,
    Retry,
    Step,
    Undo,
    Validate,
    Wait,
)

_COMPONENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")
_STEP_ID = re.compile(r"^[a-z0-9][a-z0-9_-]{0,79}$")
_ACTIONS = ("http.call", "http.check", "process", "wait", "validate")
_LATER = ("kubernetes", "postgres", "vectors", "chunks", "consensus", "git", "packages", "traffic", "approve")
_STEP_KEYS = ("description", "observe", "undo", "timeout", "retry", "irreversible", "usually")
DEFAULT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Playbooks:
    """The playbooks by component, and what is doubtful about them."""

    by_component: Mapping[str, Playbook]
    warnings: tuple[str, ...] = ()

    def get(self, component: str) -> Playbook | None:
        return self.by_component.get(component)


def load_playbooks(
    directory: Path, settings: ExecutorSettings | None = None, *, only: str | None = None
) -> Playbooks:
    """Read every playbook of a directory, or ``only`` that component's; a directory that is not there
    holds none.

    With ``settings``, targets and programs are checked against them. Raises ConfigErrors with
    everything that is wrong.
    """
    problems = Problems()
    found: dict[str, tuple[Playbook, Located]] = {}
    for path in _files(directory, only):
        with problems.collect():
            if path.suffix == ".yaml" and path.with_suffix(".yml").exists():
                raise ConfigError(
                    f"there is also {path.stem}.yml: nobody could say which one counts",
                    place=path.name,
                    mend="Remove one of them",
                )
            root = load_yaml_file(path)
            playbook = _PlaybookReader(root, problems, settings).read(path.stem)
            if playbook is not None:
                found[path.stem] = (playbook, root)
    problems.raise_any()
    warnings = []
    for name, (playbook, root) in found.items():
        with problems.collect():
            _check_cycle(name, found)
        if playbook.on_failure is not None and playbook.on_failure not in found:
            place = root.mapping()["on_failure"].place
            warnings.append(
                f"{place}: there is no playbook {playbook.on_failure}: a failed rollback of {name} "
                "ends as CriticalFailure and a person is called"
            )
    problems.raise_any()
    return Playbooks({name: playbook for name, (playbook, _) in found.items()}, tuple(warnings))


def _files(directory: Path, only: str | None) -> list[Path]:
    files = [path for suffix in ("yml", "yaml") for path in directory.glob(f"*.{suffix}")]
    return sorted(path for path in files if only is None or path.stem == only)


def _check_cycle(name: str, found: Mapping[str, tuple[Playbook, Located]]) -> None:
    way = [name]
    while (entry := found.get(way[-1])) is not None and (after := entry[0].on_failure) is not None:
        if after == name:
            raise (
                found[name][1]
                .mapping()["on_failure"]
                .error(
                    f"on_failure leads in a circle: {' → '.join([*way, after])}",
                    mend="Let one of them end without on_failure",
                )
            )
        if after in way:
            return
        way.append(after)


class _PlaybookReader:
    """Reads one file; collects what is wrong with each part of it."""

    def __init__(self, root: Located, problems: Problems, settings: ExecutorSettings | None) -> None:
        self._root = root
        self._problems = problems
        self._reader = Reader(settings)

    def read(self, stem: str) -> Playbook | None:
        """The playbook; None where something is wrong with it, which has been collected."""
        fields = self._root.fields(
            required=("playbook", "deadline", "steps"),
            optional=("mode", "preserves_data", "require", "suites", "validate", "on_failure"),
        )
        before = len(self._problems.errors)
        self._name(fields["playbook"], stem)
        suites = self._suites(fields.get("suites"))
        steps = [
            *self._steps(fields["steps"], suites),
            *self._final_validation(fields.get("validate"), suites),
        ]
        self._unique(fields["steps"], steps)
        require = self._require(fields.get("require"))
        mode, on_failure, deadline_s, preserves = "auto", None, 1.0, False
        with self._problems.collect():
            mode = self._mode(fields.get("mode"))
        with self._problems.collect():
            on_failure = self._on_failure(fields.get("on_failure"))
        with self._problems.collect():
            deadline_s = duration(fields["deadline"], least=1.0)
        with self._problems.collect():
            preserves = fields["preserves_data"].boolean() if "preserves_data" in fields else False
        if len(self._problems.errors) > before:
            return None
        return Playbook.model_validate(
            {
                "name": stem,
                "mode": mode,
                "deadline_s": deadline_s,
                "preserves_data": preserves,
                "require": require,
                "steps": tuple(steps),
                "on_failure": on_failure,
            }
        )

    def _name(self, node: Located, stem: str) -> None:
        with self._problems.collect():
            name = node.string()
            if name == FULL_SYSTEM:
                raise node.error(
                    "the rollback of the full system is not available in this version",
                    mend="Remove this file",
                )
            if not _COMPONENT.match(name):
                raise node.error(
                    f"{name!r} is no component's name", mend="Use letters, digits, `_`, `-` and `.`"
                )
            if name != stem:
                raise node.error(
                    f"the playbook is called {name!r}, its file {stem!r}",
                    mend=f"Call the file {name}.yml: it is found by its component",
                )

    def _mode(self, node: Located | None) -> str:
        if node is None:
            return "auto"
        mode = node.one_of(("shadow", "approve", "auto"))
        if mode == "approve":
            raise node.error(
                "the mode approve is not available in this version", mend="Write `shadow` or `auto`"
            )
        return mode

    def _on_failure(self, node: Located | None) -> str | None:
        if node is None:
            return None
        target = node.fields(required=("rollback",))["rollback"]
        name = target.string()
        if not _COMPONENT.match(name):
            raise target.error(f"{name!r} is no component's name", mend="Name a playbook")
        return name

    def _require(self, node: Located | None) -> Sequence[HttpCheck]:
        found = []
        with self._problems.collect():
            for item in node.sequence() if node is not None else ():
                with self._problems.collect():
                    fields = item.fields(required=("http.check",))
                    found.append(self._reader.http_check(fields["http.check"]))
        return found

    def _suites(self, node: Located | None) -> dict[str, Validate | None]:
        suites: dict[str, Validate | None] = {}
        with self._problems.collect():
            for name, body in (node.mapping() if node is not None else {}).items():
                # A suite that is wrong is still there: what names it is not wrong, too.
                suites[name] = None
                with self._problems.collect():
                    suites[name] = self._reader.suite(name, body)
        return suites

    def _steps(self, node: Located, suites: Mapping[str, Validate | None]) -> list[Step]:
        steps = []
        with self._problems.collect():
            if not node.sequence():
                raise node.error("has no steps", mend="Write at least one step")
            for item in node.sequence():
                with self._problems.collect():
                    step = self._step(item, suites)
                    if step is not None:
                        steps.append(step)
        return steps

    def _step(self, node: Located, suites: Mapping[str, Validate | None]) -> Step | None:
        kind = self._kind(node)
        fields = node.fields(required=("id", kind), optional=_STEP_KEYS)
        step_id = fields["id"].string()
        if not _STEP_ID.match(step_id):
            raise fields["id"].error(
                f"{step_id!r} is no step's id", mend="Use small letters, digits, `-` and `_`"
            )
        action: HttpCall | HttpCheck | Process | Wait | Validate | None
        if kind == "validate":
            action = self._suite_of(fields[kind], suites)
            if action is None:
                return None
        else:
            action = self._reader.action(kind, fields[kind])
        if kind == "http.call" and "observe" not in fields:
            raise fields[kind].error(
                "an http.call needs an observe: without it nobody sees whether it is done",
                mend="Add `observe: {http.check: {url: …, expect: {json: …}}}`",
            )
        for key in ("observe", "undo"):
            if key in fields and kind not in ("http.call", "process"):
                raise fields[key].error(f"a step of {kind} takes no {key}", mend="Remove it")
        undo = self._undo(fields["undo"], "observe" in fields) if "undo" in fields else None
        return Step.model_validate(
            {
                "id": step_id,
                "description": fields["description"].string() if "description" in fields else "",
                "action": action,
                "observe": self._reader.check(fields["observe"]) if "observe" in fields else None,
                "undo": undo,
                "timeout_s": self._timeout(fields.get("timeout"), kind, action),
                "retry": self._retry(fields.get("retry")),
                "irreversible": self._irreversible(fields.get("irreversible"), undo),
                "usually_s": duration(fields["usually"]) if "usually" in fields else None,
            }
        )

    def _kind(self, node: Located) -> str:
        keys = list(node.mapping())
        for key in keys:
            if key.split(".")[0] in _LATER:
                line = node.key_lines.get(key, node.line)
                raise ConfigError(
                    f"the action {key} is not available in this version",
                    place=f"{node.name}:{line}",
                    mend=f"Actions are {', '.join(_ACTIONS)}",
                )
        kinds = [key for key in keys if key in _ACTIONS]
        if len(kinds) != 1:
            raise node.error(
                f"a step has one action, this one has {len(kinds) or 'none'}",
                mend=f"Write one of {', '.join(_ACTIONS)}",
            )
        return kinds[0]

    def _suite_of(self, node: Located, suites: Mapping[str, Validate | None]) -> Validate | None:
        suite = node.fields(required=("suite",))["suite"]
        name = suite.one_of(suites) if suites else suite.string()
        if name not in suites:
            raise suite.error(f"there is no suite {name!r}", mend="Write it under `suites:`")
        return suites[name]

    def _final_validation(self, node: Located | None, suites: Mapping[str, Validate | None]) -> list[Step]:
        if node is None:
            return []
        with self._problems.collect():
            action = self._suite_of(node, suites)
            if action is not None:
                return [Step(id="validate", description="", action=action, timeout_s=DEFAULT_TIMEOUT_S * 2)]
        return []

    def _undo(self, node: Located, step_is_observed: bool) -> Undo:
        kinds = [key for key in node.mapping() if key in ("http.call", "process")]
        if len(kinds) != 1:
            raise node.error("an undo has one action", mend="Write one of http.call, process")
        fields = node.fields(required=(kinds[0],), optional=("observe",))
        if "observe" not in fields and not step_is_observed:
            raise node.error("cannot be seen to be undone", mend="Add an `observe` to the undo")
        return Undo.model_validate(
            {
                "action": self._reader.action(kinds[0], fields[kinds[0]], prior=True),
                "observe": self._reader.check(fields["observe"]) if "observe" in fields else None,
            }
        )

    def _irreversible(self, node: Located | None, undo: Undo | None) -> bool:
        if node is None:
            return False
        irreversible = node.boolean()
        if irreversible and undo is not None:
            raise node.error("an irreversible step has no undo", mend="Remove one of them")
        return irreversible

    def _timeout(self, node: Located | None, kind: str, action: object) -> float:
        if kind == "wait":
            if node is not None:
                raise node.error("a wait has no timeout", mend="Remove it: the wait says how long")
            return float(getattr(action, "seconds", 0.0)) + DEFAULT_TIMEOUT_S
        return DEFAULT_TIMEOUT_S if node is None else duration(node, least=0.1)

    def _retry(self, node: Located | None) -> Retry:
        if node is None:
            return Retry()
        fields = node.fields(optional=("attempts", "backoff"))
        attempts = fields["attempts"].integer() if "attempts" in fields else 3
        if not 1 <= attempts <= 20:
            raise fields["attempts"].error("attempts are 1 to 20", mend="Write a number from 1 to 20")
        backoff_s = duration(fields["backoff"]) if "backoff" in fields else 1.0
        return Retry(attempts=attempts, backoff_s=backoff_s)

    def _unique(self, node: Located, steps: Sequence[Step]) -> None:
        seen: set[str] = set()
        for step in steps:
            if step.id in seen:
                self._problems.add(
                    node.error(f"two steps are called {step.id!r}", mend="Give each an id of its own")
                )
            seen.add(step.id)
