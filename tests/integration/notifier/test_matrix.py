"""The plan's matrix on the real channels: who gets what at each end of a rollback."""

from __future__ import annotations

from email import message_from_bytes, policy
from pathlib import Path

import yaml

from chassis.kafka import Kafka
from chassis.settings import Settings
from tests.integration.notifier.stage import ROOT, Notifiers, Receivers, Rollback, announced, settled
from tests.polling import poll_until

PLAN = yaml.safe_load((ROOT / "config/rollback/communication_plan.yml").read_text(encoding="utf-8"))
TEMPLATES = PLAN["notification_templates"]
STAKEHOLDERS = [name for names in PLAN["notification_matrix"].values() for name in names]
MAILED = [
    "product_management",
    "customer_success",
    "executive_team",
    "sales_team",
    "marketing_team",
    "email_to_enterprise_customers",
]


async def test_a_success_is_told_to_everyone_of_the_matrix_in_the_plans_words(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    process = notifiers.start()
    started = await rollback.say("started")
    poll_until(lambda: len(receivers.incidents()) == 1, what="the page's incident")
    assert receivers.incidents()[0]["status"] == "investigating"
    for index in range(1, 5):
        await rollback.step(index)
    await rollback.say("completed", status="Success", progress=100)
    rows = await settled(settings, 2 * len(STAKEHOLDERS))

    assert_slack(receivers)
    assert_page(receivers)
    assert_mails(receivers, "rollback_initiated", "rollback_completed")
    expected = {"in_app_notification": "not_configured"}
    events = await announced(kafka, distinct=2 * len(STAKEHOLDERS))
    assert sorted((event.receiver, event.about, event.kind) for event in events) == sorted(
        (name, about, expected.get(name, "delivered"))
        for name in STAKEHOLDERS
        for about in ("rollback_initiated", "rollback_completed")
    )
    assert {row["delivery_id"] for row in rows} == {event.delivery_id for event in events}
    initiated = next(event for event in events if event.about == "rollback_initiated")
    assert (
        initiated.delivery_id == f"{rollback.incident}/{initiated.receiver}/rollback_initiated/{started.id}"
    )
    assert {row["about"] for row in rows} == {"rollback_initiated", "rollback_completed"}
    assert {(row["tier"], (row["due"] - row["caused_at"]).total_seconds()) for row in rows} == {
        ("immediate", 300),
        ("short_term", 900),
        ("customer", 1800),
    }
    assert_pages(receivers)
    notifiers.stop(process)


def assert_slack(receivers: Receivers) -> None:
    """One message with the plan's fields, at its last wording."""
    (message,) = receivers.messages()
    assert message["text"] == "🔄 Rollback Status Update: pdf_extraction - completed"
    (attachment,) = message["attachments"]
    assert attachment["color"] == "good"
    assert [(field["title"], field["short"]) for field in attachment["fields"]] == [
        ("Component", True),
        ("Progress", True),
        ("ETA", True),
    ]
    assert [field["value"] for field in attachment["fields"][:2]] == ["pdf_extraction", "100%"]
    assert attachment["text"] == TEMPLATES["rollback_completed"]["content"].strip()


def assert_page(receivers: Receivers) -> None:
    """The plan's incident, opened and resolved in its words."""
    (incident,) = receivers.incidents()
    assert incident["name"] == "System Rollback - pdf_extraction"
    assert (incident["status"], incident["impact"]) == ("resolved", "minor")
    assert [(item["status"], item["body"]) for item in incident["incident_updates"][::-1]] == [
        ("investigating", TEMPLATES["rollback_initiated"]["content"].strip()),
        ("resolved", TEMPLATES["rollback_completed"]["content"].strip()),
    ]


def assert_pages(receivers: Receivers) -> None:
    """What was received is there to look at, and shows nothing from elsewhere."""
    page = (receivers.directory / "status_page.html").read_text(encoding="utf-8")
    assert "System Rollback - pdf_extraction" in page
    assert "http" not in page.replace("https://status.docrag.com", "")
    assert "Rollback Status Update" in (receivers.directory / "slack.html").read_text(encoding="utf-8")
    files = sorted((receivers.directory / "mailbox").glob("*.eml"))
    assert len(files) == 2 * len(MAILED)
    assert read_mail(files[0])["Subject"] == TEMPLATES["rollback_initiated"]["subject"]


def assert_mails(receivers: Receivers, first: str, second: str) -> None:
    """Everyone who is mailed has both mails, in order, as one thread."""
    mails = receivers.mails()
    assert len(mails) == 2 * len(MAILED)
    for name in MAILED:
        address = f"{name.removeprefix('email_to_').replace('_', '-')}@docrag.example"
        one, two = (mail for mail in mails if mail["recipients"] == [address])
        for mail, about in ((one, first), (two, second)):
            assert mail["headers"]["Auto-Submitted"] == "auto-generated"
            if about in TEMPLATES:
                assert mail["subject"] == TEMPLATES[about]["subject"]
                assert mail["body"].replace("\r\n", "\n").strip() == TEMPLATES[about]["content"].strip()
        assert two["headers"]["In-Reply-To"] == two["headers"]["References"] == one["message_id"]
        assert one["message_id"] != two["message_id"]


async def test_a_failure_is_told_as_one_and_the_incident_stays_open(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    notifiers.start()
    await rollback.say("started")
    await rollback.say(
        "validated",
        checks=[{"name": "accuracy", "passed": False, "value": 0.91, "limit": 0.95, "detail": "0.91 < 0.95"}],
        progress=75,
    )
    await rollback.say("escalation_required", why="validation failed", progress=75)
    await rollback.say("completed", status="Failed", progress=75)
    await settled(settings, 2 * len(STAKEHOLDERS) + 3)

    (message,) = receivers.messages()
    assert message["text"] == "🔄 Rollback Status Update: pdf_extraction - failed"
    assert message["attachments"][0]["color"] == "danger"
    (incident,) = receivers.incidents()
    assert incident["status"] == "investigating"
    assert incident["resolved_at"] is None
    assert "failed" in incident["incident_updates"][0]["body"]
    said = " ".join(mail["subject"] + mail["body"] for mail in receivers.mails())
    assert "successfully" not in said
    assert "operational" not in said
    assert "System Rollback Failed - pdf_extraction" in {mail["subject"] for mail in receivers.mails()}
    events = await announced(kafka, distinct=2 * len(STAKEHOLDERS) + 3)
    escalated = {event.receiver for event in events if event.about == "escalation_required"}
    assert escalated == {"engineering_team", "product_management", "customer_success"}


def read_mail(path: Path) -> dict[str, str]:
    mail = message_from_bytes(path.read_bytes(), policy=policy.default)
    return {name: str(value) for name, value in mail.items()}
