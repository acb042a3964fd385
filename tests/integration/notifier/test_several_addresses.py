"""A mail to several addresses of which the server refuses some: each is told once, or named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chassis.settings import Settings
from services.notifier.adapters.smtp import message_id
from tests.integration.notifier.stage import ROOT, Notifiers, Receivers, Rollback, delivery_until, settled

EVERYONE = 9
TAKEN, LATER, UNKNOWN = "a@docrag.example", "b@docrag.example", "c@docrag.example"


@pytest.fixture(autouse=True)
def _three_in_sales(notifiers: Notifiers, tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    receivers = config / "receivers.yml"
    text = receivers.read_text(encoding="utf-8")
    shared = text.replace("sales-team@docrag.example", f"[{TAKEN}, {LATER}, {UNKNOWN}]")
    receivers.write_text(shared, encoding="utf-8")
    notifiers.variables["BACKOUT_CONFIG_DIR"] = str(config)


def envelopes(receivers: Receivers) -> list[list[str]]:
    """To whom the team's mails went, in order; all under one Message-ID."""
    mails = [mail for mail in receivers.mails() if TAKEN in mail["headers"]["To"]]
    assert len({mail["message_id"] for mail in mails}) == 1
    return [mail["recipients"] for mail in mails]


async def test_who_is_refused_for_now_is_told_later_and_nobody_else_again(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault("mailbox", {"on": "RCPT", "do": "refuse", "code": 451, "address": LATER})
    notifiers.start()
    await rollback.say("started")
    rows = {row["receiver"]: row for row in await settled(settings, EVERYONE)}

    assert (rows["sales_team"]["status"], rows["sales_team"]["attempts"]) == ("delivered", 2)
    assert envelopes(receivers) == [[TAKEN, UNKNOWN], [LATER]]


async def test_a_kill_between_two_attempts_forgets_nobody_and_tells_nobody_twice(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault(
        "mailbox",
        {"on": "RCPT", "do": "refuse", "code": 451, "address": LATER, "times": 2},
        {"on": "RCPT", "do": "refuse", "code": 550, "address": UNKNOWN},
    )
    first = notifiers.start()
    await rollback.say("started")
    await delivery_until(
        settings, "sales_team", lambda row: row["status"] == "pending" and LATER in row["reason"]
    )
    first.kill()
    notifiers.start()
    rows = {row["receiver"]: row for row in await settled(settings, EVERYONE)}

    sales = rows["sales_team"]
    assert (sales["status"], sales["attempts"]) == ("failed", 3)
    assert UNKNOWN in sales["reason"]
    assert "550" in sales["reason"]
    assert LATER not in sales["reason"]
    assert envelopes(receivers) == [[TAKEN], [LATER]]

    await rollback.say("completed", status="Success", progress=100)
    await settled(settings, 2 * EVERYONE)
    told = [mail for mail in receivers.mails() if TAKEN in mail["headers"]["To"]]
    assert told[-1]["recipients"] == [TAKEN, LATER, UNKNOWN]
    assert told[-1]["headers"]["In-Reply-To"] == told[0]["message_id"]


async def test_the_others_do_not_wait_for_the_news_until_one_address_is_served(
    settings: Settings, notifiers: Notifiers, receivers: Receivers, rollback: Rollback
) -> None:
    receivers.fault("mailbox", {"on": "RCPT", "do": "refuse", "code": 451, "address": LATER, "times": 2})
    first = notifiers.start()
    await rollback.say("started")
    await delivery_until(settings, "sales_team", lambda row: LATER in row["reason"])
    await rollback.say("completed", status="Success", progress=100)
    await delivery_until(
        settings,
        "sales_team",
        lambda row: row["about"] == "rollback_completed" and row["attempts"] == 1 and LATER in row["reason"],
    )
    # Who waits for whom is journaled, too.
    first.kill()
    notifiers.start()
    rows = [row for row in await settled(settings, 2 * EVERYONE) if row["receiver"] == "sales_team"]

    assert [(row["status"], row["attempts"]) for row in rows] == [("delivered", 3), ("delivered", 2)]
    told = [mail for mail in receivers.mails() if TAKEN in mail["headers"]["To"]]
    began, ended = (message_id(row["delivery_id"], "backout@localhost") for row in rows)
    assert [(mail["message_id"], mail["recipients"]) for mail in told] == [
        (began, [TAKEN, UNKNOWN]),
        (ended, [TAKEN, UNKNOWN]),
        (began, [LATER]),
        (ended, [LATER]),
    ]
    assert told[1]["headers"] == told[3]["headers"]
    assert told[1]["headers"]["In-Reply-To"] == began
