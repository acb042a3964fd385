"""What the receivers may answer, and bad input: each with its end."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import aiohttp
import asyncpg

from chassis.kafka import Kafka
from chassis.settings import Settings
from schemas.notifications import DeliveryEvent
from tests.integration.notifier.stage import (
    ROOT,
    Notifiers,
    Receivers,
    Rollback,
    announced,
    read_values,
    settled,
)
from tests.polling import poll_until

EVERYONE = 9


async def of(kafka: Kafka, receiver: str) -> list[DeliveryEvent]:
    events = await announced(kafka, distinct=EVERYONE)
    return [event for event in events if event.receiver == receiver]


async def test_a_rate_limit_is_waited_for_as_long_as_it_says(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    limit = {"do": "rate_limit", "retry_after": 3}
    receivers.fault("slack", {"on": "chat.postMessage", **limit})
    receivers.fault("statuspage", {"on": "create_incident", **limit})
    notifiers.start()
    event = await rollback.say("started")
    rows = {row["receiver"]: row for row in await settled(settings, EVERYONE)}

    for name in ("engineering_team", "status_page_update"):
        assert (rows[name]["status"], rows[name]["attempts"]) == ("delivered", 2)
        assert (rows[name]["sent_at"] - event.time).total_seconds() >= 3
    # The mails did not wait for Slack and the page.
    waited = rows["engineering_team"]["settled_at"]
    assert all(row["settled_at"] < waited for row in rows.values() if row["channel"] == "email")
    assert receivers.requests("slack")["chat.postMessage"] == 2
    assert len(receivers.messages()) == len(receivers.incidents()) == 1
    await assert_counted(notifiers)


async def assert_counted(notifiers: Notifiers) -> None:
    """What the notifier counts about itself is what happened here."""
    port = (notifiers.directory / "notifier-0.port").read_text(encoding="ascii")
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as got:
        lines = (await got.text()).splitlines()
    for line in (
        'backout_notifier_deliveries_total{channel="email",outcome="delivered"} 6.0',
        'backout_notifier_deliveries_total{channel="in_app",outcome="not_configured"} 1.0',
        'backout_notifier_tries_total{channel="slack",result="refused"} 1.0',
        'backout_notifier_tries_total{channel="slack",result="accepted"} 1.0',
    ):
        assert line in lines


async def test_a_request_whose_answer_is_lost_is_not_made_again(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault("slack", {"on": "chat.postMessage", "do": "drop"}, {"on": "chat.update", "do": "drop"})
    receivers.fault(
        "statuspage", {"on": "create_incident", "do": "drop"}, {"on": "update_incident", "do": "drop"}
    )
    notifiers.start()
    await rollback.say("started")
    await rollback.say("completed", status="Success", progress=100)
    rows = await settled(settings, 2 * EVERYONE)

    assert {row["status"] for row in rows if row["channel"] in ("slack", "status_page")} == {"delivered"}
    assert len(receivers.messages()) == 1
    (incident,) = receivers.incidents()
    assert len(incident["incident_updates"]) == 2
    calls = {**receivers.requests("slack"), **receivers.requests("statuspage")}
    operations = ("chat.postMessage", "chat.update", "create_incident", "update_incident")
    assert [calls[name] for name in operations] == [1, 1, 1, 1]


async def test_a_bot_without_the_scope_for_private_channels_finds_what_is_in_a_public_one(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, kafka: Kafka
) -> None:
    ports = receivers.ports()
    receivers.stop()
    receivers.start(*ports, "--slack-scopes", "chat:write,channels:read,channels:history")
    receivers.fault("slack", {"on": "chat.postMessage", "do": "drop", "times": 2})
    notifiers.start()
    for incident in ("one", "two"):
        await Rollback(kafka, incident=incident).say("started")
    rows = await settled(settings, 2 * EVERYONE)

    slack = [(row["status"], row["attempts"]) for row in rows if row["channel"] == "slack"]
    assert slack == [("delivered", 1), ("delivered", 1)]
    assert len(receivers.messages()) == 2
    assert notifiers.log(0).read_text(encoding="utf-8").count("may not list private channels") == 1


async def test_a_server_error_is_in_doubt_and_sent_again_when_it_is_known_absent(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault("slack", {"on": "chat.postMessage", "do": "error", "status": 500})
    receivers.fault("statuspage", {"on": "create_incident", "do": "error", "status": 503})
    notifiers.start()
    await rollback.say("started")
    rows = {row["receiver"]: row for row in await settled(settings, EVERYONE)}

    assert rows["engineering_team"]["attempts"] == rows["status_page_update"]["attempts"] == 2
    assert receivers.requests("slack")["conversations.history"] >= 1
    assert receivers.requests("statuspage")["list_incidents"] >= 1
    assert len(receivers.messages()) == len(receivers.incidents()) == 1


async def test_a_dropped_mail_keeps_its_message_id_and_a_refused_one_fails_once(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault(
        "mailbox",
        {"on": "DATA", "do": "refuse", "code": 451},
        {"on": "DATA", "do": "drop"},
        {"on": "RCPT", "do": "refuse", "code": 550},
    )
    notifiers.start()
    await rollback.say("started")
    rows = [row for row in await settled(settings, EVERYONE) if row["channel"] == "email"]

    (refused,) = (row for row in rows if row["status"] == "failed")
    assert refused["attempts"] == 1
    assert "550" in refused["reason"]
    (event,) = await of(kafka, refused["receiver"])
    assert (event.kind, event.attempts) == ("failed", 1)
    assert sorted(row["attempts"] for row in rows if row["status"] == "delivered") == [1, 1, 1, 2, 2]
    mails = receivers.mails()
    assert len(mails) == 6
    assert len({mail["message_id"] for mail in mails}) == 5


async def test_what_cannot_succeed_fails_once_and_holds_nobody_up(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, rollback: Rollback
) -> None:
    notifiers.variables["BACKOUT_NOTIFIER__SLACK__TOKEN"] = "xoxb-wrong"
    notifiers.variables["BACKOUT_NOTIFIER__STATUSPAGE__API_KEY"] = "wrong"
    notifiers.start()
    await rollback.say("started")
    rows = {row["receiver"]: row for row in await settled(settings, EVERYONE)}

    for receiver, reason in (("engineering_team", "invalid_auth"), ("status_page_update", "HTTP 401")):
        assert (rows[receiver]["status"], rows[receiver]["attempts"]) == ("failed", 1)
        assert reason in rows[receiver]["reason"]
        (event,) = await of(kafka, receiver)
        assert event.kind == "failed"
    mailed = {row["status"] for row in rows.values() if row["channel"] == "email"}
    assert mailed == {"delivered"}


async def test_a_missing_setting_is_recorded_as_not_configured(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, rollback: Rollback
) -> None:
    for name in list(notifiers.variables):
        if "SLACK__TOKEN" in name or "SMTP__HOST" in name:
            del notifiers.variables[name]
    notifiers.start()
    await rollback.say("started")
    rows = await settled(settings, EVERYONE)

    missing = {row["receiver"]: row["reason"] for row in rows if row["status"] == "not_configured"}
    assert len(missing) == 8
    assert "BACKOUT_NOTIFIER__SLACK__TOKEN" in missing["engineering_team"]
    assert "BACKOUT_NOTIFIER__SMTP__HOST" in missing["sales_team"]
    events = await announced(kafka, distinct=EVERYONE)
    assert {event.receiver for event in events if event.kind == "not_configured"} == set(missing)


async def test_what_was_open_when_receivers_went_away_is_delivered_when_they_are_back(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    ports = receivers.ports()
    receivers.stop()
    first = notifiers.start()
    await rollback.say("started")
    notifiers.stop(first)
    receivers.start(*ports)
    notifiers.start()
    rows = await settled(settings, EVERYONE, timeout_s=60)

    assert {row["status"] for row in rows} == {"delivered", "not_configured"}
    assert len(receivers.messages()) == len(receivers.incidents()) == 1
    assert len(receivers.mails()) == 6


async def test_edits_are_one_a_second_at_most_and_the_last_word_wins(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    notifiers.start()
    await rollback.say("started")
    for index in range(1, 13):
        await rollback.step(index, of=12)
    event = await rollback.say("completed", status="Success", progress=100)
    rows = await settled(settings, 2 * EVERYONE)

    last = max(row["settled_at"] for row in rows if row["channel"] == "slack")
    revisions = receivers.revisions()
    assert 2 <= len(revisions) <= 8
    assert min(later - earlier for earlier, later in pairwise(revisions)) >= 1
    assert (last - event.time).total_seconds() < 5
    assert "completed" in receivers.messages()[0]["text"]


async def test_an_old_log_is_not_announced_to_people(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    rollback.age = timedelta(days=3)
    await rollback.say("started")
    notifiers.start()
    rows = await settled(settings, EVERYONE)

    assert {row["status"] for row in rows} == {"failed", "not_configured"}
    assert all(row["reason"].startswith("too_old") for row in rows if row["status"] == "failed")
    assert receivers.messages() == receivers.incidents() == receivers.mails() == []


async def test_bad_records_go_aside_and_the_next_is_announced(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    notifiers.start()
    await rollback.write(b"{not json")
    event = await rollback.say("started")
    reused = event.model_copy(update={"data": event.data.model_copy(update={"progress": 99})})
    await rollback.write(reused.to_bytes())
    await rollback.write(event.to_bytes())
    await settled(settings, EVERYONE)
    await rollback.say("completed", status="Success", progress=100)
    await settled(settings, 2 * EVERYONE)

    assert await read_values(kafka, "dead-letter") == [b"{not json", reused.to_bytes()]
    assert len(receivers.messages()) == 1


async def test_what_the_database_cannot_hold_goes_aside_or_is_told_without(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    process = notifiers.start()
    other = await Rollback(kafka, incident="i\x00").say("started")
    await rollback.say("started", why="its\x00 reason")
    await settled(settings, EVERYONE)

    assert process.poll() is None
    assert await read_values(kafka, "dead-letter") == [other.to_bytes()]
    (message,) = receivers.messages()
    assert "its reason" in message["attachments"][0]["text"]


async def test_hostile_text_in_an_event_stays_text(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    notifiers.start()
    reason = "a <!channel> & b\r\nBcc: everyone@example.org"
    await rollback.say("refused", reason=reason, why="<script>x</script>")
    poll_until(receivers.messages, what="the message")
    await rollback.say("escalation_required", reason=reason, why="\r\nX: y\x00")
    await settled(settings, 4)

    (message,) = receivers.messages()
    assert "<!channel>" not in message["attachments"][0]["text"]
    assert "&lt;!channel&gt; &amp; b" in message["attachments"][0]["text"]
    for mail in receivers.mails():
        assert "Bcc" not in mail["headers"]
        assert "X" not in mail["headers"]
    page = (receivers.directory / "slack.html").read_text(encoding="utf-8")
    assert "<script>" not in page


async def test_a_wrong_plan_stops_the_start_with_its_line(notifiers: Notifiers, tmp_path: Path) -> None:
    config = tmp_path / "config"
    (config / "rollback").mkdir(parents=True)
    text = (ROOT / "config/rollback/communication_plan.yml").read_text(encoding="utf-8")
    (config / "rollback/communication_plan.yml").write_text(
        text.replace('urgency: "high"', 'urgency: "loud"'), encoding="utf-8"
    )
    (config / "receivers.yml").write_text(
        (ROOT / "config/receivers.yml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    process = notifiers.start(ready=False, BACKOUT_CONFIG_DIR=str(config))
    poll_until(lambda: process.poll() is not None, what="its end")

    said = notifiers.log(0).read_text(encoding="utf-8")
    assert process.returncode == 2
    assert "communication_plan.yml:21" in said
    assert "loud" in said
    assert "Traceback" not in said


async def test_what_has_become_old_while_it_waited_is_not_told_any_more(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault("slack", {"on": "chat.postMessage", "do": "rate_limit", "retry_after": 4})
    notifiers.start(BACKOUT_NOTIFIER__MAX_EVENT_AGE_S="3")
    await rollback.say("started")
    rows = {row["receiver"]: row for row in await settled(settings, EVERYONE)}

    row = rows["engineering_team"]
    assert (row["status"], row["attempts"], row["reason"][:8]) == ("failed", 1, "too_old:")
    assert receivers.messages() == []
    assert [event.kind for event in await of(kafka, "engineering_team")] == ["failed"]
    assert rows["status_page_update"]["status"] == "delivered"


async def test_a_lost_database_is_waited_for(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    process = notifiers.start()
    receivers.fault("slack", {"on": "chat.postMessage", "do": "delay", "seconds": 1})
    await rollback.say("started")
    poll_until(lambda: receivers.requests("slack").get("chat.postMessage"), what="the request")
    await cut_connections(settings)
    await rollback.say("completed", status="Success", progress=100)
    await cut_connections(settings)
    await settled(settings, 2 * EVERYONE)

    assert process.poll() is None
    assert receivers.requests("slack")["chat.postMessage"] == 1
    assert len(receivers.messages()) == len(receivers.incidents()) == 1
    ends = await announced(kafka, distinct=2 * EVERYONE)
    assert len(ends) == len({event.delivery_id for event in ends}) == 2 * EVERYONE


async def cut_connections(settings: Settings) -> None:
    """Every connection to the test's database ends, as in a restart of the server."""
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()
