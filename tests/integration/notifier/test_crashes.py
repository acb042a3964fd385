"""kill -9 around every request: nobody is told a thing twice, and nothing is left untold.

Mail is the exception that is documented: at least once, with the same Message-ID.
"""

from __future__ import annotations

import os
import signal

import pytest

from chassis.kafka import Kafka
from chassis.settings import Settings
from tests.integration.notifier.stage import (
    TIMEOUT_S,
    Notifiers,
    Receivers,
    Rollback,
    announced,
    settled,
    waiting_at,
)
from tests.polling import is_stopped, poll_until

EVERYONE = 9


def assert_told_once(receivers: Receivers) -> None:
    """One Slack message, one page incident with one update a delivery, however often we crashed."""
    assert len(receivers.messages()) == 1
    (incident,) = receivers.incidents()
    assert [item["status"] for item in incident["incident_updates"][::-1]] == ["investigating", "resolved"]


@pytest.mark.parametrize(
    ("channel", "point", "at_pass"),
    [
        ("slack", "before-intent", 1),
        ("slack", "after-intent", 1),
        ("slack", "after-send", 1),
        ("slack", "after-send", 2),
        ("status_page", "after-intent", 2),
        ("status_page", "after-send", 1),
        ("status_page", "after-send", 2),
    ],
)
async def test_a_killed_notifier_tells_slack_and_the_page_once(
    settings: Settings,
    kafka: Kafka,
    notifiers: Notifiers,
    receivers: Receivers,
    rollback: Rollback,
    channel: str,
    point: str,
    at_pass: int,
) -> None:
    armed = f"notifier.{point}.{channel}=kill@{at_pass}"
    first = notifiers.start(BACKOUT_FAILPOINTS=armed)
    await rollback.say("started")
    if at_pass == 1:
        notifiers.killed(first)
    else:
        await settled(settings, EVERYONE)
    await rollback.say("completed", status="Success", progress=100)
    if at_pass == 2:
        notifiers.killed(first)
    notifiers.start()
    await settled(settings, 2 * EVERYONE)

    assert_told_once(receivers)
    calls = receivers.requests("slack" if channel == "slack" else "statuspage")
    made = {
        "slack": ("chat.postMessage", "chat.update"),
        "status_page": ("create_incident", "update_incident"),
    }
    assert [calls.get(name, 0) for name in made[channel]] == [1, 1]
    ends = await announced(kafka, distinct=2 * EVERYONE)
    assert len(ends) == len({event.delivery_id for event in ends}) == 2 * EVERYONE
    assert receivers.messages()[0]["attachments"][0]["color"] == "good"


async def test_a_mail_is_sent_again_with_its_message_id(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    first = notifiers.start(BACKOUT_FAILPOINTS="notifier.after-send.email=kill@1")
    await rollback.say("started")
    notifiers.killed(first)
    notifiers.start()
    await settled(settings, EVERYONE)

    sent: dict[str, list[str]] = {}
    for mail in receivers.mails():
        sent.setdefault(mail["recipients"][0], []).append(mail["message_id"])
    assert len(sent) == 6
    assert any(len(ids) > 1 for ids in sent.values())
    assert all(len(set(ids)) == 1 for ids in sent.values())


async def test_an_event_is_recorded_once_though_it_was_not_acknowledged(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    first = notifiers.start(BACKOUT_FAILPOINTS="notifier.after-record=kill@1")
    event = await rollback.say("started")
    notifiers.killed(first)
    await rollback.write(event.to_bytes())
    notifiers.start()
    await settled(settings, EVERYONE)

    assert len(receivers.messages()) == len(receivers.incidents()) == 1
    assert len(await announced(kafka, distinct=EVERYONE)) == EVERYONE


async def test_a_frozen_notifier_sends_nothing_after_another_took_over(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault("slack", {"on": "chat.postMessage", "do": "rate_limit", "retry_after": 1})
    first = notifiers.start(instance="one")
    await rollback.say("started")
    poll_until(lambda: receivers.requests("slack").get("chat.postMessage"), what="the first try")
    os.kill(first.pid, signal.SIGSTOP)
    notifiers.start(instance="two", ready=False)
    await settled(settings, EVERYONE, timeout_s=40)
    os.kill(first.pid, signal.SIGCONT)
    await rollback.say("completed", status="Success", progress=100)
    await settled(settings, 2 * EVERYONE, timeout_s=40)

    assert_told_once(receivers)


async def test_a_notifier_that_is_frozen_right_before_a_request_does_not_make_it(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    first = notifiers.start(instance="one", BACKOUT_FAILPOINTS="notifier.before-send.status_page=freeze@1")
    await rollback.say("started")
    poll_until(lambda: is_stopped(first.pid), what="the freeze")
    notifiers.start(instance="two", ready=False)
    await settled(settings, EVERYONE, timeout_s=40)
    os.kill(first.pid, signal.SIGCONT)
    await rollback.say("completed", status="Success", progress=100)
    await settled(settings, 2 * EVERYONE, timeout_s=40)

    assert_told_once(receivers)
    assert receivers.requests("statuspage")["create_incident"] == 1


async def test_what_a_frozen_notifier_has_locked_is_taken_over(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    """Frozen in the middle of transactions that record answers: its sessions live on, those that had
    just prepared a statement, too."""
    receivers.fault("statuspage", {"on": "create_incident", "do": "delay", "seconds": 1})
    first = notifiers.start(instance="one", BACKOUT_POSTGRES__COMMAND_TIMEOUT_S="5")
    await rollback.say("started")
    poll_until(lambda: receivers.requests("statuspage").get("create_incident"), what="the page's request")
    async with waiting_at(settings, "notifier.lanes"):
        os.kill(first.pid, signal.SIGSTOP)
    notifiers.start(instance="two", ready=False)
    await settled(settings, EVERYONE)
    os.kill(first.pid, signal.SIGCONT)
    await rollback.say("completed", status="Success", progress=100)
    await settled(settings, 2 * EVERYONE)

    assert_told_once(receivers)


async def test_two_notifiers_share_the_work_and_tell_once(
    settings: Settings, kafka: Kafka, notifiers: Notifiers, receivers: Receivers
) -> None:
    notifiers.start(instance="one")
    notifiers.start(instance="two", ready=False)
    for number in range(4):
        other = Rollback(kafka, incident=f"incident-{number}")
        await other.say("started")
        await other.say("completed", status="Success", progress=100)
    await settled(settings, 4 * 2 * EVERYONE, timeout_s=60)

    assert len(receivers.messages()) == 4
    assert [incident["status"] for incident in receivers.incidents()] == ["resolved"] * 4
    assert all(len(incident["incident_updates"]) == 2 for incident in receivers.incidents())
    assert len({mail["message_id"] for mail in receivers.mails()}) == len(receivers.mails()) == 4 * 2 * 6


@pytest.mark.parametrize("server", ["slack", "statuspage"])
async def test_a_request_that_lands_after_its_timeout_is_not_made_again(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback, server: str
) -> None:
    operation = "chat.postMessage" if server == "slack" else "create_incident"
    receivers.fault(server, {"on": operation, "do": "delay", "seconds": TIMEOUT_S + 1})
    notifiers.start()
    await rollback.say("started")
    await settled(settings, EVERYONE)

    assert receivers.requests(server)[operation] == 1
    assert len(receivers.messages()) == len(receivers.incidents()) == 1
