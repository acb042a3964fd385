"""The part of Statuspage's API (v1) that an announcing app uses: a page's incidents.

Answers have the API's shapes: 401 without the key, 404 for what is not there, 422 with a list
of sentences for what cannot be stored. Each change of an incident adds an update to it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from examples.receivers.faults import Faults, Handler, add_fault_routes, with_faults
from examples.receivers.store import Document, Store

STATUSES = ("investigating", "identified", "monitoring", "resolved")
IMPACTS = ("none", "minor", "major", "critical", "maintenance")
_PAGE_SIZE = 100


class Refused(Exception):
    """A refused request: the HTTP status and what the body says."""

    def __init__(self, status: int, error: Any) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = error


class StatusPage:
    """One account with one page."""

    def __init__(
        self,
        store: Store,
        *,
        page_id: str,
        api_key: str,
        components: dict[str, str],
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._page_id = page_id
        self._api_key = api_key
        self._changed = changed
        self.components = components
        self.faults = Faults()

    def application(self) -> web.Application:
        app = web.Application()
        add_fault_routes(app, self.faults)
        base = "/v1/pages/{page}"
        routes: list[tuple[str, str, str, Handler]] = [
            ("GET", f"{base}/incidents", "list_incidents", self._list),
            ("POST", f"{base}/incidents", "create_incident", self._create),
            ("GET", f"{base}/incidents/unresolved", "list_unresolved", self._unresolved),
            ("GET", f"{base}/incidents/{{incident}}", "get_incident", self._get),
            ("PATCH", f"{base}/incidents/{{incident}}", "update_incident", self._update),
            ("PUT", f"{base}/incidents/{{incident}}", "update_incident", self._update),
            ("GET", f"{base}/components", "list_components", self._list_components),
        ]
        for method, path, operation, handler in routes:
            app.router.add_route(method, path, self._guarded(operation, handler))
        return app

    def incidents(self) -> list[Document]:
        """Every incident, newest first, with its updates, newest first."""
        return list(self._store.all("page_incidents"))[::-1]

    def _guarded(self, operation: str, handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            try:
                self._authenticate(request)
                return await handler(request)
            except Refused as error:
                return web.json_response({"error": error.error}, status=error.status)

        async def serve(request: web.Request) -> web.StreamResponse:
            limited = web.json_response({"error": "Too many requests"}, status=429)
            return await with_faults(self.faults, operation, request, checked, limited)

        return serve

    def _authenticate(self, request: web.Request) -> None:
        if request.headers.get("Authorization") != f"OAuth {self._api_key}":
            raise Refused(401, "Could not authenticate")
        if request.match_info["page"] != self._page_id:
            raise Refused(404, "not found")

    async def _list(self, request: web.Request) -> web.Response:
        wanted = request.query.get("q", "").lower()
        found = [item for item in self.incidents() if wanted in item["name"].lower()]
        return web.json_response(_page(found, request))

    async def _unresolved(self, request: web.Request) -> web.Response:
        found = [item for item in self.incidents() if item["status"] != "resolved"]
        return web.json_response(_page(found, request))

    async def _list_components(self, _: web.Request) -> web.Response:
        return web.json_response([{"id": key, "name": name} for key, name in self.components.items()])

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._incident(request))

    async def _create(self, request: web.Request) -> web.Response:
        given = await _given(request)
        name = given.get("name")
        if not isinstance(name, str) or not name.strip():
            raise Refused(422, ["Name can't be blank"])
        now = _now()
        identity = secrets.token_hex(6)
        incident: Document = {
            "id": identity,
            "page_id": self._page_id,
            "name": name,
            "status": "investigating",
            "impact": "none",
            "impact_override": None,
            "metadata": {},
            "components": [],
            "created_at": now,
            "started_at": now,
            "resolved_at": None,
            "incident_updates": [],
        }
        self._apply(incident, given, now)
        return web.json_response(incident, status=201)

    async def _update(self, request: web.Request) -> web.Response:
        incident = self._incident(request)
        self._apply(incident, await _given(request), _now())
        return web.json_response(incident)

    def _incident(self, request: web.Request) -> Document:
        incident = self._store.get("page_incidents", request.match_info["incident"])
        if incident is None:
            raise Refused(404, "Incident not found")
        return incident

    def _apply(self, incident: Document, given: Document, now: str) -> None:
        self._check(given)
        if "impact_override" in given:
            incident["impact"] = incident["impact_override"] = given["impact_override"]
        if "component_ids" in given:
            incident["components"] = [
                {"id": key, "name": self.components[key]} for key in given["component_ids"]
            ]
        incident.update({key: given[key] for key in ("name", "status", "metadata") if key in given})
        incident["updated_at"] = now
        if incident["status"] == "resolved" and incident["resolved_at"] is None:
            incident["resolved_at"] = now
        if "body" in given or "status" in given:
            update = {
                "id": secrets.token_hex(6),
                "incident_id": incident["id"],
                "status": incident["status"],
                "body": given.get("body", ""),
                "created_at": now,
                "display_at": now,
            }
            incident["incident_updates"].insert(0, update)
        self._store.put("page_incidents", incident["id"], incident)
        self._changed()

    def _check(self, given: Document) -> None:
        wrong = []
        if "status" in given and given["status"] not in STATUSES:
            wrong.append("Status is not included in the list")
        if given.get("impact_override") not in (None, *IMPACTS):
            wrong.append("Impact override is not included in the list")
        unknown = [key for key in given.get("component_ids", []) if key not in self.components]
        wrong += [f"Component {key} does not exist on this page" for key in unknown]
        if not isinstance(given.get("metadata", {}), dict):
            wrong.append("Metadata must be an object")
        if wrong:
            raise Refused(422, wrong)


async def _given(request: web.Request) -> Document:
    try:
        body = await request.json()
    except ValueError:
        raise Refused(400, "The request body is not JSON") from None
    incident = body.get("incident") if isinstance(body, dict) else None
    if not isinstance(incident, dict):
        raise Refused(422, ["incident is missing"])
    return incident


def _page(items: list[Document], request: web.Request) -> list[Document]:
    try:
        size = min(max(int(request.query.get("limit", _PAGE_SIZE)), 1), _PAGE_SIZE)
        page = max(int(request.query.get("page", 1)), 1)
    except ValueError:
        raise Refused(400, "limit and page are numbers") from None
    return items[(page - 1) * size : page * size]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
