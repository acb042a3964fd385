"""What the receivers hold, as HTML pages for a person: no script, no outside asset."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape, unescape
from typing import Any

from examples.receivers.store import Document

_STYLE = """
:root { color-scheme: light; --line: #e3e6ea; --quiet: #5d6673; --ink: #1c2733; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: var(--ink);
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 780px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 0; }
.quiet { color: var(--quiet); font-size: 13px; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 8px;
        padding: 18px 20px; margin-top: 18px; }
.banner { color: #fff; border-radius: 8px; padding: 16px 20px; margin-top: 18px; font-weight: 600; }
.ok { background: #1f8a4c; } .open { background: #b45f06; }
.bar { border-left: 4px solid var(--line); padding: 2px 0 2px 14px; margin: 10px 0 4px; }
.good { border-color: #1f8a4c; } .warning { border-color: #d9a300; } .danger { border-color: #c0362c; }
.fields { display: flex; flex-wrap: wrap; gap: 6px 36px; margin-top: 8px; }
.fields b { display: block; font-size: 13px; }
.update { border-top: 1px solid var(--line); padding-top: 12px; margin-top: 12px; }
.tag { font-size: 12px; text-transform: capitalize; border: 1px solid var(--line); border-radius: 99px;
       padding: 1px 9px; margin-left: 8px; }
pre { white-space: pre-wrap; font: inherit; margin: 4px 0; }
details { margin-top: 10px; } summary { cursor: pointer; color: var(--quiet); font-size: 13px; }
"""


def slack_page(channels: list[Document], messages: list[Document]) -> str:
    """Every channel with its messages, oldest first, each with its earlier wordings."""
    parts = []
    for channel in channels:
        found = [message for message in messages if message["channel"] == channel["id"]]
        parts.append(f'<section class="card"><h2># {escape(channel["name"])}</h2>')
        parts += [_slack_message(message) for message in found]
        parts += [] if found else ['<p class="quiet">No messages.</p>']
        parts.append("</section>")
    return _document("Slack", "The messages of the local workspace", "".join(parts))


def _slack_message(message: Document) -> str:
    revisions = message["revisions"]
    edited = f" · edited {len(revisions) - 1}×" if len(revisions) > 1 else ""
    head = f'<span class="quiet">backout · {_clock(float(message["ts"]))}{edited}</span>'
    body = f'<div class="update">{head}{_slack_content(message)}'
    if len(revisions) > 1:
        earlier = "".join(
            f'<div class="update"><span class="quiet">{_clock(item["at"])}</span>{_slack_content(item)}</div>'
            for item in revisions[:-1]
        )
        body += f"<details><summary>Earlier wordings</summary>{earlier}</details>"
    return body + "</div>"


def _slack_content(content: Document) -> str:
    parts = [f"<pre>{_slack_text(content['text'])}</pre>"]
    for attachment in content["attachments"]:
        colour = attachment.get("color", "")
        known = colour if colour in ("good", "warning", "danger") else ""
        fields = "".join(
            f"<div><b>{_slack_text(field.get('title', ''))}</b>{_slack_text(field.get('value', ''))}</div>"
            for field in attachment.get("fields", [])
        )
        text = f"<pre>{_slack_text(attachment.get('text', ''))}</pre>" if attachment.get("text") else ""
        parts.append(f'<div class="bar {known}">{text}<div class="fields">{fields}</div></div>')
    return "".join(parts)


def _slack_text(text: Any) -> str:
    """Slack's texts have ``& < >`` escaped already."""
    return escape(unescape(str(text)))


def status_page(incidents: list[Document]) -> str:
    """The public page: the state now, and every incident, newest first."""
    unresolved = [item for item in incidents if item["status"] != "resolved"]
    if unresolved:
        banner = f'<div class="banner open">{len(unresolved)} unresolved incident(s)</div>'
    else:
        banner = '<div class="banner ok">No unresolved incidents</div>'
    cards = "".join(_incident(item) for item in incidents)
    return _document("Status", "The public status page", banner + cards)


def _incident(incident: Document) -> str:
    touched = ", ".join(item["name"] for item in incident["components"])
    facts = f"Impact: {incident['impact']}" + (f" · Affects: {touched}" if touched else "")
    updates = "".join(
        f'<div class="update"><b>{escape(item["status"].capitalize())}</b>'
        f"<pre>{escape(item['body'].strip())}</pre>"
        f'<span class="quiet">{escape(item["display_at"])}</span></div>'
        for item in incident["incident_updates"]
    )
    return (
        f'<article class="card"><h2>{escape(incident["name"])}'
        f'<span class="tag">{escape(incident["status"])}</span></h2>'
        f'<span class="quiet">{escape(facts)}</span>{updates}</article>'
    )


def mailbox_page(mails: list[Document]) -> str:
    """Every mail, newest first, with a link to its file."""
    cards = "".join(
        f'<article class="card"><h2>{escape(mail["subject"])}</h2>'
        f'<span class="quiet">{_clock(mail["at"])} · from {escape(mail["sender"] or "")} · to '
        f'{escape(", ".join(mail["recipients"]))} · <a href="mailbox/{escape(mail["file"])}">'
        f"{escape(mail['file'])}</a></span><pre>{escape(mail['body'].strip())}</pre></article>"
        for mail in reversed(mails)
    )
    return _document("Mailbox", "The mails that the local SMTP server took", cards or "<p>No mails.</p>")


def _document(title: str, subtitle: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<div class="quiet">{escape(subtitle)}</div>{body}</main></body></html>\n'
    )


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
