"""Slack: one message an incident, edited in place, that carries its delivery's id as metadata.

The client's own retries are off: it would repeat a request whose answer was lost, and post twice.

What the bot's token must allow (docs.slack.dev/reference/scopes): ``chat:write`` to post and edit;
to find a delivery in doubt ``channels:read`` and ``channels:history``, for a private channel
``groups:read`` and ``groups:history``. The bot must be a member of the channel.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from chassis.settings import SlackSettings
from services.notifier.domain.attempts import Absent, Accepted, Failure
from services.notifier.domain.entry import Entry

log = structlog.get_logger(__name__)
METADATA_EVENT = "backout_delivery"
_COLOURS = {"in_progress": "warning", "good": "good", "bad": "danger"}
# Slack says of these that the call may have had its effect all the same.
_UNKNOWN_OUTCOME = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})
_RATE_LIMITED = frozenset({"ratelimited", "rate_limited"})
_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_CLOCK_SKEW = timedelta(minutes=5)
_PAGE = 200
# Slack cuts an attachment's text without a word at 8,000 characters; escaping makes five of one.
_MAX_TEXT = 7_500
_PUBLIC_CHANNELS = "public_channel"
_ALL_CHANNELS = "public_channel,private_channel"


class SlackChannel:
    """A workspace, through a bot's token."""

    spacing = timedelta(seconds=1)
    can_be_asked = True

    def __init__(self, settings: SlackSettings, token: str, session: aiohttp.ClientSession) -> None:
        self.timeout = timedelta(seconds=settings.timeout_s)
        self._client = AsyncWebClient(
            token=token, base_url=settings.base_url, session=session, retry_handlers=[]
        )
        self._ids: dict[str, str] = {}
        self._listed = _ALL_CHANNELS

    async def admit(self) -> None:
        """Slack's limits are told by its answers (429)."""

    async def send(self, entry: Entry) -> Accepted | Failure:
        """Edit the incident's message, or post it where there is none (or none any more)."""
        try:
            if entry.shown is not None:
                try:
                    return await self._edit(entry, entry.shown.place, entry.shown.remote_id)
                except SlackApiError as error:
                    if _error_of(error) not in _GONE:
                        raise
            return await self._post(entry)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            return failure_of(error)

    async def find(self, entry: Entry) -> Accepted | Absent | Failure:
        """Look for the delivery's id in the message that was edited and in the channel's history."""
        try:
            if entry.shown is not None:
                place, ts = entry.shown.place, entry.shown.remote_id
                answer = await self._client.conversations_history(
                    channel=place, oldest=ts, latest=ts, inclusive=True, limit=1, include_all_metadata=True
                )
                if _ts_of(entry, answer["messages"]) is not None:
                    return Accepted(ts, place)
            return await self._find_in_history(entry)
        except (SlackApiError, aiohttp.ClientError, TimeoutError) as error:
            return failure_of(error)

    async def _find_in_history(self, entry: Entry) -> Accepted | Absent | Failure:
        place = await self._channel_id(entry.delivery.addresses[0])
        if place is None:
            wanted = entry.delivery.addresses[0]
            reason = f"slack: channel_not_found: among {self._listed} the bot sees no {wanted}"
            return Failure(reason, retryable=False)
        oldest = min(entry.delivery.caused_at, entry.sent_at or entry.delivery.caused_at) - _CLOCK_SKEW
        cursor: str | None = None
        while True:
            answer = await self._client.conversations_history(
                channel=place,
                oldest=f"{oldest.timestamp():.6f}",
                limit=_PAGE,
                cursor=cursor,
                include_all_metadata=True,
            )
            ts = _ts_of(entry, answer["messages"])
            if ts is not None:
                return Accepted(ts, place)
            cursor = _next_cursor(answer)
            if not cursor:
                return Absent()

    async def _post(self, entry: Entry) -> Accepted:
        answer = await self._client.chat_postMessage(
            channel=entry.delivery.addresses[0],
            text=text_of(entry),
            attachments=attachments_of(entry),
            metadata=_metadata(entry),
            unfurl_links=False,
        )
        place = str(answer["channel"])
        self._ids[entry.delivery.addresses[0]] = place
        return Accepted(str(answer["ts"]), place)

    async def _edit(self, entry: Entry, place: str, ts: str) -> Accepted:
        await self._client.chat_update(
            channel=place,
            ts=ts,
            text=text_of(entry),
            attachments=attachments_of(entry),
            metadata=_metadata(entry),
        )
        return Accepted(ts, place)

    async def _channel_id(self, address: str) -> str | None:
        """The history is asked by id: look a name up once."""
        if not address.startswith("#"):
            return address
        cursor: str | None = None
        while address not in self._ids:
            answer = await self._list_channels(cursor)
            self._ids.update({f"#{channel['name']}": str(channel["id"]) for channel in answer["channels"]})
            cursor = _next_cursor(answer)
            if not cursor and address not in self._ids:
                return None
        return self._ids[address]

    async def _list_channels(self, cursor: str | None) -> AsyncSlackResponse:
        """A page of the channels: without the scope for private ones, of the public ones alone."""
        try:
            return await self._client.conversations_list(
                cursor=cursor, limit=_PAGE, exclude_archived=True, types=self._listed
            )
        except SlackApiError as error:
            if _error_of(error) != "missing_scope" or self._listed == _PUBLIC_CHANNELS:
                raise
            self._listed = _PUBLIC_CHANNELS
            log.warning(
                "the bot may not list private channels",
                means="a delivery in doubt to a private channel given by name cannot be looked for",
                mend="give the bot groups:read and groups:history, or write the channel's id",
            )
            return await self._list_channels(cursor)


def text_of(entry: Entry) -> str:
    """The headline, as in the plan's status updater."""
    delivery = entry.delivery
    message = delivery.message
    return f"🔄 {escape(message.headline)}: {escape(delivery.component)} - {escape(message.phase)}"


def attachments_of(entry: Entry) -> list[dict[str, Any]]:
    """Component, Progress and ETA, and below them what the announcement says."""
    delivery, message = entry.delivery, entry.delivery.message
    fields = [("Component", delivery.component)]
    if message.eta:
        fields += [("Progress", f"{message.progress}%"), ("ETA", message.eta)]
    words = "\n".join(part for part in (message.content.strip(), message.detail) if part)
    attachment: dict[str, Any] = {
        "color": _COLOURS[message.outlook],
        "fallback": escape(f"{delivery.component}: {message.phase}")
        + (f", {message.progress}%" if message.eta else ""),
        "fields": [{"title": title, "value": escape(value), "short": True} for title, value in fields],
    }
    if message.subject:
        attachment["title"] = escape(message.subject)
    if words:
        attachment["text"] = _escaped_up_to(words, _MAX_TEXT)
    return [attachment]


def escape(text: str) -> str:
    """Slack's three control characters; everything else stands for itself."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escaped_up_to(text: str, limit: int) -> str:
    """Escaped, and cut between two characters of the original where it is too long."""
    escaped = escape(text)
    if len(escaped) <= limit:
        return escaped
    kept, room = [], limit - 1
    for character in text:
        shown = escape(character)
        if len(shown) > room:
            break
        kept.append(shown)
        room -= len(shown)
    return "".join(kept) + "…"


def failure_of(error: SlackApiError | aiohttp.ClientError | TimeoutError) -> Failure:
    """Whether a call that failed may be made again, and whether it may have had its effect."""
    if isinstance(error, SlackApiError):
        word, status = _error_of(error), _status_of(error)
        if status in (429, 420) or word in _RATE_LIMITED:
            return Failure(f"slack: {word}", retryable=True, delay_s=_retry_after(error))
        unknown = word in _UNKNOWN_OUTCOME or word.startswith("HTTP") or status >= 500
        return Failure(f"slack: {word}", retryable=unknown, may_have_landed=unknown)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failure(f"slack: {error}", retryable=True)
    if isinstance(error, aiohttp.InvalidURL):
        return Failure(f"slack: not an address: {error}", retryable=False)
    reason = f"slack: {type(error).__name__} {error}".rstrip()
    return Failure(reason, retryable=True, may_have_landed=True)


def _metadata(entry: Entry) -> dict[str, Any]:
    delivery = entry.delivery
    payload = {
        "delivery_id": delivery.delivery_id,
        "incident_id": delivery.incident_id,
        "about": delivery.about,
    }
    return {"event_type": METADATA_EVENT, "event_payload": payload}


def _ts_of(entry: Entry, messages: Iterable[dict[str, Any]]) -> str | None:
    for message in messages:
        payload = message.get("metadata", {}).get("event_payload", {})
        if payload.get("delivery_id") == entry.delivery.delivery_id:
            return str(message["ts"])
    return None


def _next_cursor(answer: Any) -> str | None:
    return (answer.get("response_metadata") or {}).get("next_cursor") or None


def _error_of(error: SlackApiError) -> str:
    answer = error.response
    data = getattr(answer, "data", answer)
    word = data.get("error") if isinstance(data, dict) else None
    return str(word or f"HTTP {_status_of(error)}")


def _status_of(error: SlackApiError) -> int:
    answer = error.response
    status = getattr(answer, "status_code", None) or getattr(answer, "status", None)
    return int(status or 200)


def _retry_after(error: SlackApiError) -> float | None:
    headers = getattr(error.response, "headers", {})
    try:
        return float(headers.get("Retry-After", ""))
    except ValueError:
        return None
