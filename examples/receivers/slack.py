"""The part of Slack's Web API that an announcing app uses, over messages that are kept.

Answers have Slack's shapes: HTTP 200 with ``{"ok": false, "error": …}`` for a refused call,
429 for a rate limit. Arguments come in the query, as a form, or as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from examples.receivers.faults import Faults, add_fault_routes, with_faults
from examples.receivers.store import Document, Store

_BOT_USER = "U0BACKOUT0"
_MAX_TEXT = 40_000
_MAX_PAGE = 999
ALL_SCOPES = ("chat:write", "channels:read", "channels:history", "groups:read", "groups:history")
_LISTING_SCOPES = {"public_channel": "channels:read", "private_channel": "groups:read"}
_NESTED = ("attachments", "blocks", "metadata")


class SlackError(Exception):
    """A refused call; ``error`` is Slack's word for it."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


class Slack:
    """One workspace with one bot token of some scopes and a few public channels."""

    def __init__(
        self,
        store: Store,
        *,
        token: str,
        channels: tuple[str, ...],
        scopes: tuple[str, ...] = ALL_SCOPES,
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._token = token
        self._scopes = scopes
        self._changed = changed
        self.faults = Faults()
        for name in channels:
            identity = channel_id(name)
            store.put("slack_channels", identity, {"id": identity, "name": name.lstrip("#")})
        self._methods: dict[str, Callable[[Document], Document]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.list": self._list,
        }

    def application(self) -> web.Application:
        app = web.Application()
        add_fault_routes(app, self.faults)
        app.router.add_route("*", "/api/{method}", self._serve)
        return app

    def messages(self) -> list[Document]:
        """Every message, oldest first, with ``channel`` and all ``revisions``.

        A revision is what its call gave, so that a call that was made twice is there twice.
        """
        return list(self._store.all("slack_messages"))

    def channels(self) -> list[Document]:
        return list(self._store.all("slack_channels"))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        limited = web.json_response({"ok": False, "error": "ratelimited"}, status=429)
        return await with_faults(self.faults, request.match_info["method"], request, self._call, limited)

    async def _call(self, request: web.Request) -> web.StreamResponse:
        try:
            method = self._methods.get(request.match_info["method"], _unknown_method)
            arguments = await _arguments(request)
            self._authenticate(request, arguments)
            return web.json_response({"ok": True, **method(arguments)})
        except SlackError as error:
            return web.json_response({"ok": False, "error": error.error})

    def _authenticate(self, request: web.Request, arguments: Document) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        given = token if scheme == "Bearer" else arguments.get("token", "")
        if not given:
            raise SlackError("not_authed")
        if given != self._token:
            raise SlackError("invalid_auth")

    def _auth_test(self, _: Document) -> Document:
        return {"team": "Local", "team_id": "T0LOCAL000", "user": "backout", "user_id": _BOT_USER}

    def _post(self, arguments: Document) -> Document:
        channel = self._channel(arguments, by_name=True)
        content = _content(arguments)
        ts = self._next_ts()
        message = {"type": "message", "user": _BOT_USER, "ts": ts, "channel": channel["id"], **content}
        message["revisions"] = [{"at": time.time(), **content}]
        self._keep(message)
        return {"channel": channel["id"], "ts": ts, "message": _shown(message, with_metadata=True)}

    def _update(self, arguments: Document) -> Document:
        channel = self._channel(arguments, by_name=False)
        message = self._store.get("slack_messages", str(arguments.get("ts", "")))
        if message is None or message["channel"] != channel["id"]:
            raise SlackError("message_not_found")
        content = _content(arguments)
        # Metadata that is not given stays as it was.
        kept = {"metadata": message.get("metadata"), **content}
        message = {**{key: value for key, value in message.items() if key not in _NESTED}, **kept}
        message["edited"] = {"user": _BOT_USER, "ts": f"{time.time():.6f}"}
        message["revisions"].append({"at": time.time(), **content})
        self._keep(message)
        return {"channel": channel["id"], "ts": message["ts"], "text": message["text"]}

    def _keep(self, message: Document) -> None:
        self._store.put("slack_messages", message["ts"], message)
        self._changed()

    def _next_ts(self) -> str:
        """Unique in the workspace and rising, as Slack's are in a channel."""
        newest = max((float(message["ts"]) for message in self.messages()), default=0.0)
        return f"{max(time.time(), newest + 0.000_1):.6f}"

    def _history(self, arguments: Document) -> Document:
        channel = self._channel(arguments, by_name=False)
        oldest, latest = float(arguments.get("oldest") or 0), float(arguments.get("latest") or "inf")
        inclusive = _truth(arguments.get("inclusive"))

        def within(ts: float) -> bool:
            return oldest < ts < latest or (inclusive and ts in (oldest, latest))

        found = [
            message
            for message in reversed(self.messages())
            if message["channel"] == channel["id"] and within(float(message["ts"]))
        ]
        page, cursor = _page(found, arguments, default=100)
        shown = [
            _shown(message, with_metadata=_truth(arguments.get("include_all_metadata"))) for message in page
        ]
        answer: Document = {"messages": shown, "has_more": bool(cursor)}
        if cursor:
            answer["response_metadata"] = {"next_cursor": cursor}
        return answer

    def _list(self, arguments: Document) -> Document:
        types = str(arguments.get("types") or "public_channel").split(",")
        if any(_LISTING_SCOPES.get(kind, kind) not in self._scopes for kind in types):
            raise SlackError("missing_scope")
        page, cursor = _page(self.channels(), arguments, default=100)
        channels = [
            {**channel, "is_channel": True, "is_archived": False, "is_member": True} for channel in page
        ]
        return {"channels": channels, "response_metadata": {"next_cursor": cursor}}

    def _channel(self, arguments: Document, *, by_name: bool) -> Document:
        given = str(arguments.get("channel", ""))
        for channel in self.channels():
            if given == channel["id"] or (by_name and given.lstrip("#") == channel["name"]):
                return channel
        raise SlackError("channel_not_found")


def _unknown_method(_: Document) -> Document:
    raise SlackError("unknown_method")


def channel_id(name: str) -> str:
    """The id of a channel of this workspace: the same at every start."""
    return "C" + hashlib.sha256(name.lstrip("#").encode()).hexdigest()[:10].upper()


async def _arguments(request: web.Request) -> Document:
    arguments: Document = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.text() or "{}")
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        return {**arguments, **body}
    arguments.update({key: str(value) for key, value in (await request.post()).items()})
    for name in _NESTED:
        if isinstance(arguments.get(name), str):
            try:
                arguments[name] = json.loads(arguments[name])
            except ValueError:
                raise SlackError(f"invalid_{name}") from None
    return arguments


def _content(arguments: Document) -> Document:
    """What a message says, checked as Slack checks it."""
    text, attachments = arguments.get("text") or "", arguments.get("attachments") or []
    if not text and not attachments and not arguments.get("blocks"):
        raise SlackError("no_text")
    if len(text) > _MAX_TEXT:
        raise SlackError("msg_too_long")
    if not isinstance(attachments, list):
        raise SlackError("invalid_attachments")
    metadata = arguments.get("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and "event_payload" in metadata
    ):
        raise SlackError("invalid_metadata_format")
    content: Document = {"text": text, "attachments": attachments}
    if metadata is not None:
        content["metadata"] = metadata
    return content


def _shown(message: Document, *, with_metadata: bool) -> Document:
    hidden = {"revisions", "channel"} if with_metadata else {"revisions", "channel", "metadata"}
    return {key: value for key, value in message.items() if key not in hidden and value is not None}


def _page(items: list[Document], arguments: Document, *, default: int) -> tuple[list[Document], str]:
    """One page and the cursor of the next (empty at the end)."""
    try:
        limit = min(max(int(arguments.get("limit") or default), 1), _MAX_PAGE)
        start = int(base64.b64decode(arguments["cursor"])) if arguments.get("cursor") else 0
    except ValueError:
        raise SlackError("invalid_cursor") from None
    end = start + limit
    cursor = base64.b64encode(str(end).encode()).decode() if end < len(items) else ""
    return items[start:end], cursor


def _truth(value: Any) -> bool:
    return value in (True, 1, "1", "true", "True")
