"""What the receivers really have: asked of them, not of the notifier that claims to have told them."""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from examples.receivers.store import Document, Store


@dataclass(frozen=True, slots=True)
class Receipts:
    """Counts by receiver; ``repeated`` names whatever is there more than once.

    ``slack_edits`` is how often the messages were edited, by whichever delivery.
    """

    slack_messages: int
    slack_edits: int
    page_incidents: int
    page_resolved: int
    mails: int
    repeated: tuple[str, ...]


def receipts_in(directory: Path) -> Receipts:
    """Read the receivers' store of one run: one Slack message an incident and channel, each delivery
    posted or edited into it once, one incident on the page, no update of it twice.

    A mail whose sending was in doubt is sent again under its Message-ID, by which mail servers
    and readers know it for the same; it does not count here.
    """
    with contextlib.closing(Store(directory / "receivers.sqlite3")) as store:
        messages = list(store.all("slack_messages"))
        incidents = list(store.all("page_incidents"))
        mails = list(store.all("mails"))
    repeated = [
        *_more_than_once("Slack message of", [_incident_in(message) for message in messages]),
        *_more_than_once(
            "Slack delivery", [mark for message in messages for mark in _deliveries_in(message)]
        ),
        *_more_than_once("page incident", [str(incident["name"]) for incident in incidents]),
        *(
            f"page update of {incident['name']}: {body}"
            for incident in incidents
            for body in _twice([str(update["body"]) for update in incident["incident_updates"]])
        ),
    ]
    return Receipts(
        slack_messages=len(messages),
        slack_edits=sum(len(message["revisions"]) - 1 for message in messages),
        page_incidents=len(incidents),
        page_resolved=sum(incident["status"] == "resolved" for incident in incidents),
        mails=len(mails),
        repeated=tuple(repeated),
    )


def _incident_in(message: Document) -> str:
    """What a message is about: there is one a channel for each incident."""
    return f"{message['metadata']['event_payload']['incident_id']} in {message['channel']}"


def _deliveries_in(message: Document) -> list[str]:
    """The delivery that each posting and editing of a message belonged to."""
    given = [revision.get("metadata") or {} for revision in message["revisions"]]
    return [str(metadata.get("event_payload", {}).get("delivery_id")) for metadata in given]


def _more_than_once(what: str, items: list[str]) -> list[str]:
    return [f"{what} {item}" for item in _twice(items)]


def _twice(items: list[str]) -> list[str]:
    return sorted(item for item, count in Counter(items).items() if count > 1)
