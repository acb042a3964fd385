"""Reading the actions and checks of a playbook.

Addresses begin with a target of the settings and programs come from the allow-list: a playbook
can reach nothing that the operator of the executor has not named.
"""

from __future__ import annotations

import re
from typing import Any

from chassis.errors import ConfigError
from chassis.settings import ExecutorSettings
from chassis.yaml_source import Located
from services.executor.domain.playbook import (
    HttpCall,
    HttpCheck,
    Limit,
    Process,
    ProcessCheck,
    Validate,
    Wait,
)
from services.executor.domain.templates import placeholders, problem_with, target_of

_DURATION = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h)$")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TEMPLATES = "Templates are {target.<name>}, {component}, {execution}; in an undo's json {prior.<path>}"
_MAX_S = 7 * 24 * 3600.0


def duration(node: Located, *, least: float = 0.0) -> float:
    """A duration such as ``500ms``, ``60s``, ``15m`` or ``1h``, in seconds. Raises ConfigError."""
    text = node.content
    match = _DURATION.match(text) if isinstance(text, str) else None
    if match is None:
        raise node.error(f"{text!r} is no duration", mend="Write a number and a unit: 500ms, 60s, 15m, 1h")
    seconds = float(match.group(1)) * _UNIT_S[match.group(2)]
    if not least <= seconds <= _MAX_S:
        raise node.error(f"{text} is out of range", mend=f"Write {least:g}s to {_MAX_S / 3600:g}h")
    return seconds


class Reader:
    """Reads the parts of a step; ``settings`` None leaves targets and programs unchecked."""

    def __init__(self, settings: ExecutorSettings | None) -> None:
        self._settings = settings

    def action(
        self, kind: str, node: Located, *, prior: bool = False
    ) -> HttpCall | HttpCheck | Process | Wait:
        """The action of that kind; ``prior`` where its json may name what was observed before."""
        match kind:
            case "http.call":
                return self.http_call(node, prior=prior)
            case "http.check":
                return self.http_check(node)
            case "process":
                return self._process(node)
            case _:
                return Wait(seconds=duration(node.fields(required=("for",))["for"]))

    def check(self, node: Located) -> HttpCheck | ProcessCheck:
        """How a step is observed."""
        kinds = [key for key in node.mapping() if key in ("http.check", "process.check")]
        if len(kinds) != 1:
            raise node.error("an observe has one check", mend="Write one of http.check, process.check")
        body = node.fields(required=(kinds[0],))[kinds[0]]
        if kinds[0] == "http.check":
            return self.http_check(body)
        return ProcessCheck(argv=self._argv(body.fields(required=("argv",))["argv"]))

    def http_call(self, node: Located, *, prior: bool = False) -> HttpCall:
        fields = node.fields(required=("method", "url"), optional=("json", "expect", "honours"))
        body = self._json(fields["json"], prior=prior) if "json" in fields else None
        return HttpCall.model_validate(
            {
                "method": fields["method"].one_of(("PUT", "POST", "PATCH", "DELETE")),
                "url": self._url(fields["url"]),
                "body": body,
                "expect_status": self._statuses(fields.get("expect")),
                "honours": self._honours(fields.get("honours")),
            }
        )

    def http_check(self, node: Located) -> HttpCheck:
        fields = node.fields(required=("url",), optional=("expect",))
        expect = (
            fields["expect"].fields(optional=("status", "json"))
            if "expect" in fields
            else dict[str, Located]()
        )
        return HttpCheck(
            url=self._url(fields["url"]),
            status=self._status(expect["status"]) if "status" in expect else 200,
            expect_json=self._json(expect["json"], prior=False) if "json" in expect else None,
        )

    def suite(self, name: str, node: Located) -> Validate:
        fields = node.fields(required=("http.call", "checks"))
        checks = fields["checks"].sequence()
        if not checks:
            raise fields["checks"].error("has no checks", mend="Write at least one")
        return Validate(
            suite=name,
            call=self.http_call(fields["http.call"]),
            limits=tuple(self._limit(item) for item in checks),
        )

    def _limit(self, node: Located) -> Limit:
        fields = node.fields(required=("name", "value"), optional=("at_least", "at_most", "unit"))
        bounds = {key: fields[key].number() for key in ("at_least", "at_most") if key in fields}
        if not bounds:
            raise node.error("has no limit", mend="Add `at_least:` or `at_most:`")
        return Limit(
            name=fields["name"].string(),
            path=fields["value"].string(),
            unit=fields["unit"].string() if "unit" in fields else "",
            **bounds,
        )

    def _url(self, node: Located) -> str:
        url = node.string()
        self._templates(node, url, prior=False)
        if not re.match(r"^\{target\.[A-Za-z0-9_-]+\}(/|$)", url) or "/../" in url or url.endswith("/.."):
            raise node.error(
                f"{url!r} is no address below a target",
                mend="Begin it with {target.<name>}/ and name the target in the settings (executor.targets)",
            )
        return url

    def _json(self, node: Located, *, prior: bool) -> Any:
        value = node.plain()
        self._templates(node, value, prior=prior)
        return value

    def _templates(self, node: Located, value: Any, *, prior: bool) -> None:
        for name in placeholders(value):
            problem = problem_with(name, prior=prior)
            if problem is not None:
                mend = (
                    "Templates are {target.<name>}, {component}, {execution}, and {prior.<path>} in an undo"
                )
                raise node.error(problem, mend=mend)
            target = target_of(name)
            if target is not None and self._settings is not None and target not in self._settings.targets:
                raise ConfigError(
                    f"there is no target {target!r} in the settings",
                    place=node.place,
                    mend=f"Set executor.targets.{target} in backout.toml, or "
                    f'BACKOUT_EXECUTOR__TARGETS=\'{{"{target}": "http://…"}}\'',
                )

    def _statuses(self, node: Located | None) -> tuple[int, ...]:
        if node is None:
            return ()
        status = node.fields(required=("status",))["status"]
        items = status.sequence() if status.is_sequence else (status,)
        return tuple(self._status(item) for item in items)

    def _status(self, node: Located) -> int:
        status = node.integer()
        if not 100 <= status <= 599:
            raise node.error(f"{status} is no HTTP status", mend="Write 100 to 599")
        return status

    def _honours(self, node: Located | None) -> tuple[str, ...]:
        if node is None:
            return ()
        return tuple(item.one_of(("idempotency_key", "epoch")) for item in node.sequence())

    def _process(self, node: Located) -> Process:
        fields = node.fields(required=("argv",), optional=("repeatable",))
        repeatable = fields["repeatable"].boolean() if "repeatable" in fields else False
        return Process(argv=self._argv(fields["argv"]), repeatable=repeatable)

    def _argv(self, node: Located) -> tuple[str, ...]:
        argv = tuple(item.string() for item in node.sequence())
        if not argv:
            raise node.error("has no program", mend="Write the program and its arguments")
        self._templates(node, argv, prior=False)
        if self._settings is not None and not is_allowed(argv, self._settings.allowed_commands):
            raise node.error(
                f"{' '.join(argv)!r} is not among the allowed commands",
                mend="Add its beginning to executor.allowed_commands in backout.toml",
            )
        return argv


def is_allowed(argv: tuple[str, ...], allowed: list[list[str]]) -> bool:
    """Whether argv begins with one of the allowed beginnings, word by word."""
    return any(prefix and list(argv[: len(prefix)]) == prefix for prefix in allowed)
