"""The control endpoints: the component's switches, its validation, the ledger of effects, and the faults.

The switches are separate because backing a release out takes them one by one: disable the enhanced
extractors, restore the original one from its backup, validate, route. Each change honours `Idempotency-Key`
and `X-Backout-Epoch` (see `ledger`); faults are no part of the component and take neither.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from examples.docrag.chaos import Chaos, ChaosSwitch
from examples.docrag.control import ControlPlane, Transition
from examples.docrag.corpus import KnownFile
from examples.docrag.eventlog import EventLog
from examples.docrag.extraction import ExtractionFailed, Extractors, Plan, UnreadableDocument
from examples.docrag.ledger import ControlRequest, parse_epoch, parse_key
from examples.docrag.routing import (
    COMPONENT,
    ENHANCED_ORDER,
    ChangeRefused,
    ConfigurationError,
    Mode,
    OriginalConfiguration,
    with_enhanced,
    with_mode,
    with_original,
    with_routing,
)
from examples.docrag.validation import validate

PATH = f"/components/{COMPONENT}"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ModeBody(_Body):
    """PUT on the component or on its routing."""

    mode: Mode


class EnhancedBody(_Body):
    """PUT on the enhanced extractors."""

    enabled: bool


class RestoreBody(_Body):
    """PUT on the original extractor: initialize it from its backup."""

    restore: Literal["backup"]


class ShutDownBody(_Body):
    """PUT on the original extractor: shut it down."""

    initialized: Literal[False]


class ValidateBody(_Body):
    """POST of a validation."""

    suite: Literal["pdf_extraction"]


class ControlApi:
    """Handlers of the control endpoints."""

    def __init__(
        self,
        control: ControlPlane,
        extractors: Extractors,
        files: Sequence[KnownFile],
        chaos: ChaosSwitch,
        events: EventLog,
    ) -> None:
        self._control = control
        self._extractors = extractors
        self._files = files
        self._chaos = chaos
        self._events = events

    def routes(self) -> list[web.RouteDef]:
        """The routes of this part."""
        return [
            web.get(PATH, self.show),
            web.put(PATH, self.set_mode),
            web.put(f"{PATH}/enhanced", self.set_enhanced),
            web.put(f"{PATH}/original", self.set_original),
            web.put(f"{PATH}/routing", self.set_routing),
            web.post(f"{PATH}/validate", self.run_validation),
            web.get("/effects", self.list_effects),
            web.get("/effects/{key:.+}", self.show_effect),
            web.get("/chaos", self.show_chaos),
            web.put("/chaos", self.set_chaos),
            web.delete("/chaos", self.end_chaos),
        ]

    async def show(self, _request: web.Request) -> web.Response:
        """The component's state."""
        return web.json_response(await self._control.describe())

    async def set_mode(self, request: web.Request) -> web.Response:
        """Deploy one implementation whole and retire the other."""
        body = await _parse(request, ModeBody)
        return await self._change(
            request, body, lambda config: with_mode(config, body.mode, self._control.files.read_backup())
        )

    async def set_enhanced(self, request: web.Request) -> web.Response:
        """Switch the enhanced extractors on or off."""
        body = await _parse(request, EnhancedBody)
        return await self._change(request, body, lambda config: with_enhanced(config, enabled=body.enabled))

    async def set_original(self, request: web.Request) -> web.Response:
        """Restore the original extractor from its verified backup, or shut it down."""
        body = await _parse(request, RestoreBody, ShutDownBody)
        restored = await self._initialized_backup() if isinstance(body, RestoreBody) else None
        return await self._change(request, body, lambda config: with_original(config, restored))

    async def set_routing(self, request: web.Request) -> web.Response:
        """Route extraction to an implementation that is ready."""
        body = await _parse(request, ModeBody)
        return await self._change(request, body, lambda config: with_routing(config, body.mode))

    async def run_validation(self, request: web.Request) -> web.Response:
        """Extract the known files and judge the result; `?implementation=enhanced` for the other one."""
        body = await _parse(request, ValidateBody)

        async def action() -> dict[str, Any]:
            plan = self._plan(request.query.get("implementation", "original"))
            return await validate(self._extractors, plan, self._files)

        result = await self._control.perform(_control_request(request, body), action)
        severity = "INFO" if result["passed"] else "ERROR"
        outcome = {key: result[key] for key in ("implementation", "passed", "accuracy_min", "accuracy_mean")}
        self._events.emit(COMPONENT, severity, "extraction validated", **outcome)
        return web.json_response(result)

    async def list_effects(self, _request: web.Request) -> web.Response:
        """The ledger, oldest first."""
        return web.json_response(await self._control.effects())

    async def show_effect(self, request: web.Request) -> web.Response:
        """One entry of the ledger."""
        key = request.match_info["key"]
        effect = await self._control.effect(key)
        if effect is None:
            raise web.HTTPNotFound(text=f"no effect was applied under the key {key!r}")
        return web.json_response(effect)

    async def show_chaos(self, _request: web.Request) -> web.Response:
        """The faults in force."""
        return web.json_response(self._chaos.current.model_dump())

    async def set_chaos(self, request: web.Request) -> web.Response:
        """Replace the faults in force by those given; the others end."""
        self._chaos.current = await _parse(request, Chaos)
        self._events.emit(COMPONENT, "WARN", "faults injected", **self._chaos.current.model_dump())
        return await self.show_chaos(request)

    async def end_chaos(self, request: web.Request) -> web.Response:
        """End every fault."""
        self._chaos.current = Chaos()
        self._events.emit(COMPONENT, "INFO", "faults ended")
        return await self.show_chaos(request)

    async def _change(self, request: web.Request, body: BaseModel, transition: Transition) -> web.Response:
        control_request = _control_request(request, body)
        try:
            answer = await self._control.change(control_request, transition)
        except ConfigurationError as error:
            raise ChangeRefused(str(error)) from error
        fields = {"key": control_request.key, "epoch": control_request.epoch, "path": request.path}
        self._events.emit(COMPONENT, "INFO", "component changed", **fields, mode=answer["mode"])
        return web.json_response(answer)

    async def _initialized_backup(self) -> OriginalConfiguration:
        try:
            backup = self._control.files.read_backup()
            await self._extractors.extract(self._files[0].content, self._files[0].name, backup)
        except (ConfigurationError, ExtractionFailed, UnreadableDocument) as error:
            raise ChangeRefused(f"the original extractor cannot be restored: {error}") from error
        return backup

    def _plan(self, implementation: str) -> Plan:
        if implementation == "enhanced":
            return self._control.configuration().extractors.enhanced.enabled() or ENHANCED_ORDER
        if implementation != "original":
            raise web.HTTPBadRequest(text="implementation must be original or enhanced")
        original: OriginalConfiguration | None = self._control.configuration().extractors.original
        if original is None:
            raise ChangeRefused("the original extractor is not initialized: restore it from its backup first")
        return original


def _control_request(request: web.Request, body: BaseModel) -> ControlRequest:
    # A request without a key is recorded all the same, under a key that nothing can repeat.
    key = parse_key(request.headers.get("Idempotency-Key")) or f"unkeyed/{uuid.uuid4()}"
    epoch = parse_epoch(request.headers.get("X-Backout-Epoch"))
    return ControlRequest(key, epoch, request.method, request.path_qs, body.model_dump())


BodyT = TypeVar("BodyT", bound=BaseModel)


async def _parse(request: web.Request, *kinds: type[BodyT]) -> BodyT:
    """The body as the first of the kinds that it fits; an answer of 400 names what is wrong otherwise."""
    content = await request.read()
    faults: list[str] = []
    for kind in kinds:
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            faults.append(f"{where}: {first['msg']}")
    raise web.HTTPBadRequest(text="; or ".join(faults))
