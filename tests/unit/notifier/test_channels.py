"""The form that each channel gives a delivery, and what it makes of an answer."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from types import SimpleNamespace
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from aiohttp.client_reqrep import ConnectionKey
from slack_sdk.errors import SlackApiError

from services.notifier.adapters import slack, smtp, status_page
from services.notifier.domain.announcements import Delivery
from tests.unit.notifier.events import INCIDENT, entry_of, event_of, told

SENDER = "backout@example.org"


def delivery_to(receiver: str, kind: str = "started", **fields: Any) -> Delivery:
    return next(item for item in told(event_of(kind, **fields)) if item.receiver == receiver)


def test_slack_shows_component_progress_and_eta() -> None:
    entry = entry_of(delivery_to("engineering_team", progress=25))
    (attachment,) = slack.attachments_of(entry)

    assert slack.text_of(entry) == "🔄 Rollback Status Update: pdf_extraction - initiated"
    assert attachment["color"] == "warning"
    assert attachment["fields"] == [
        {"title": "Component", "value": "pdf_extraction", "short": True},
        {"title": "Progress", "value": "25%", "short": True},
        {"title": "ETA", "value": "2026-01-02 03:05:35 UTC", "short": True},
    ]


@pytest.mark.parametrize(
    ("status", "colour", "page"),
    [
        ("Success", "good", "resolved"),
        ("Failed", "danger", "investigating"),
        ("CriticalFailure", "danger", "investigating"),
    ],
)
def test_only_success_is_good_and_resolves(status: str, colour: str, page: str) -> None:
    message = entry_of(delivery_to("engineering_team", "completed", status=status))
    assert slack.attachments_of(message)[0]["color"] == colour
    incident = entry_of(delivery_to("status_page_update", "completed", status=status))
    assert status_page.update(incident)["status"] == page


def test_slack_text_cannot_call_out() -> None:
    entry = entry_of(delivery_to("engineering_team", "refused", reason="<!channel> & <@U1>"))
    (attachment,) = slack.attachments_of(entry)
    assert "&lt;!channel&gt; &amp; &lt;@U1&gt;" in attachment["text"]


def test_the_page_gets_the_plans_incident() -> None:
    entry = entry_of(delivery_to("status_page_update"))
    created = status_page.creation(entry)
    assert created["name"] == "System Rollback - pdf_extraction"
    assert (created["status"], created["impact_override"]) == ("investigating", "minor")
    assert created["component_ids"] == ["document-rag"]
    assert created["metadata"]["backout"]["delivery_id"] == entry.delivery.delivery_id


def test_a_mail_is_the_same_at_every_sending() -> None:
    entry = entry_of(delivery_to("sales_team"))
    again = entry_of(delivery_to("sales_team"), state="in_doubt", attempts=3)
    mail = smtp.compose(entry, sender=SENDER)

    assert mail.as_bytes() == smtp.compose(again, sender=SENDER).as_bytes()
    assert mail["Subject"] == "System Rollback Initiated - Service Stability Measures"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"] == smtp.message_id(entry.delivery.delivery_id, SENDER)
    assert mail["Message-ID"].endswith("@example.org>")
    assert mail["X-Backout-Incident"] == INCIDENT
    assert mail["In-Reply-To"] is None


def test_a_later_mail_replies_to_the_first() -> None:
    first = delivery_to("sales_team")
    entry = entry_of(delivery_to("sales_team", "completed", status="Success"), thread=first.delivery_id)
    mail = smtp.compose(entry, sender=SENDER)
    assert mail["In-Reply-To"] == mail["References"] == smtp.message_id(first.delivery_id, SENDER)


def test_no_fact_reaches_the_headers_as_a_header() -> None:
    event = event_of("escalation_required", incident="i\r\nBcc: x@example.org", reason="r\nX-A: b")
    delivery = next(item for item in told(event) if item.receiver == "product_management")
    mail = smtp.compose(entry_of(delivery), sender=SENDER)
    assert "Bcc" not in mail
    assert "X-A" not in mail


def test_customers_do_not_see_each_other() -> None:
    shared = replace(delivery_to("email_to_enterprise_customers"), addresses=("a@x.example", "b@y.example"))
    assert smtp.compose(entry_of(shared), sender=SENDER)["To"] == "undisclosed-recipients:;"
    team = replace(delivery_to("sales_team"), addresses=("a@x.example", "b@y.example"))
    assert smtp.compose(entry_of(team), sender=SENDER)["To"] == "a@x.example, b@y.example"


def slack_error(error: str, status: int = 200, **headers: str) -> SlackApiError:
    answer = SimpleNamespace(status_code=status, data={"ok": False, "error": error}, headers=headers)
    return SlackApiError("refused", answer)  # type: ignore[no-untyped-call]


def unreachable() -> aiohttp.ClientConnectorError:
    key = ConnectionKey("localhost", 1, False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, OSError("refused"))


@pytest.mark.parametrize(
    ("error", "retryable", "may_have_landed", "delay_s"),
    [
        (slack_error("invalid_auth"), False, False, None),
        (slack_error("channel_not_found"), False, False, None),
        (slack_error("ratelimited", 429, **{"Retry-After": "30"}), True, False, 30.0),
        (slack_error("ratelimited", 429), True, False, None),
        (slack_error("internal_error"), True, True, None),
        (slack_error("", 503), True, True, None),
        (slack_error("", 200), True, True, None),
        (unreachable(), True, False, None),
        (aiohttp.ServerDisconnectedError(), True, True, None),
        (TimeoutError(), True, True, None),
    ],
)
def test_what_slack_answers(
    error: SlackApiError | aiohttp.ClientError | TimeoutError,
    retryable: bool,
    may_have_landed: bool,
    delay_s: float | None,
) -> None:
    failure = slack.failure_of(error)
    assert (failure.retryable, failure.may_have_landed, failure.delay_s) == (
        retryable,
        may_have_landed,
        delay_s,
    )


@pytest.mark.parametrize(
    ("error", "retryable", "may_have_landed"),
    [
        (aiosmtplib.SMTPDataError(451, "later"), True, False),
        (aiosmtplib.SMTPDataError(554, "spam"), False, False),
        (aiosmtplib.SMTPAuthenticationError(535, "no"), False, False),
        (aiosmtplib.SMTPConnectError("no"), True, False),
        (aiosmtplib.SMTPNotSupported("no STARTTLS"), False, False),
        (aiosmtplib.SMTPServerDisconnected("gone"), True, True),
        (aiosmtplib.SMTPReadTimeoutError("slow"), True, True),
    ],
)
def test_what_a_mail_server_answers(error: Exception, retryable: bool, may_have_landed: bool) -> None:
    failure = smtp.failure_of(error)
    assert (failure.retryable, failure.may_have_landed) == (retryable, may_have_landed)


def test_a_reply_to_an_address_is_for_now_or_for_good() -> None:
    answers = {
        "a@x.example": (451, "greylisted"),
        "b@x.example": (550, "unknown"),
        "c@x.example": (450, "full"),
    }
    refusals = smtp.refusals_of(answers, "<1@x.example>")
    assert refusals.for_now == {"a@x.example": "451 greylisted", "c@x.example": "450 full"}
    assert refusals.for_good == {"b@x.example": "550 unknown"}


def test_a_long_text_is_cut_for_slack_between_two_characters() -> None:
    delivery = delivery_to("engineering_team")
    long = replace(delivery, message=replace(delivery.message, content="&" * 9_000))
    (attachment,) = slack.attachments_of(entry_of(long))
    assert len(attachment["text"]) <= 7_500
    assert attachment["text"].endswith("&amp;…")
    assert set(attachment["text"].removesuffix("…").split(";")) == {"&amp", ""}


@pytest.mark.parametrize(
    "subject",
    ["Ausfall: Größe & Überlauf", "回滚 🔄 pdf", 'a "quoted" <x@y>, z', "ü" * 300],
)
def test_odd_characters_in_a_subject_arrive(subject: str) -> None:
    delivery = delivery_to("sales_team")
    odd = replace(delivery, message=replace(delivery.message, subject=subject))
    raw = smtp.compose(entry_of(odd), sender=SENDER).as_bytes()
    assert message_from_bytes(raw, policy=policy.default)["Subject"] == subject
    assert max(map(len, raw.splitlines())) <= 998


@pytest.mark.parametrize("word", ["=?utf-8?q?a=0D=0ABcc:_x@y.example?=", "=?utf-8?b?YQ0KQmNjOiB4QHk=?="])
def test_no_encoded_word_reaches_the_headers(word: str) -> None:
    event = event_of("escalation_required", incident=word)
    delivery = next(item for item in told(event) if item.receiver == "product_management")
    odd = replace(delivery, message=replace(delivery.message, subject=word))
    read = message_from_bytes(smtp.compose(entry_of(odd), sender=SENDER).as_bytes(), policy=policy.default)
    assert "Bcc" not in read
    assert read["Subject"] == read["X-Backout-Incident"] == word.replace("=?", "= ?")
