"""The local receivers answer as the services do whose place they take, and forget nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import aiosmtplib
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from examples.demo.receipts import receipts_in
from tests.integration.notifier.stage import Receivers

PAGE = {"Authorization": "OAuth demo-key"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


@pytest.fixture
def slack(receivers: Receivers, session: aiohttp.ClientSession) -> AsyncWebClient:
    address = receivers.addresses["slack"]
    return AsyncWebClient("xoxb-demo", base_url=address, session=session, retry_handlers=[])


async def refused(client: AsyncWebClient, method: str, **arguments: object) -> str:
    with pytest.raises(SlackApiError) as caught:
        await client.api_call(method, json=arguments)
    return str(caught.value.response["error"])


async def test_slack_refuses_as_slack_does(slack: AsyncWebClient, receivers: Receivers) -> None:
    assert await refused(slack, "chat.postMessage", channel="#nowhere", text="x") == "channel_not_found"
    assert await refused(slack, "chat.postMessage", channel="#incidents") == "no_text"
    assert await refused(slack, "chat.update", channel="#incidents", ts="1", text="x") == "channel_not_found"
    posted = await slack.chat_postMessage(channel="#incidents", text="x")
    place = posted["channel"]
    assert await refused(slack, "chat.update", channel=place, ts="1.0", text="x") == "message_not_found"
    assert await refused(slack, "files.upload") == "unknown_method"
    bad = {"event_type": "x"}
    assert (
        await refused(slack, "chat.postMessage", channel=place, text="x", metadata=bad)
        == "invalid_metadata_format"
    )
    stranger = AsyncWebClient("xoxb-other", base_url=receivers.addresses["slack"], retry_handlers=[])
    assert await refused(stranger, "auth.test") == "invalid_auth"


async def test_slack_takes_forms_and_json(receivers: Receivers, session: aiohttp.ClientSession) -> None:
    form = {"token": "xoxb-demo", "channel": "#general", "text": "x", "attachments": '[{"color": "good"}]'}
    async with session.post(receivers.addresses["slack"] + "chat.postMessage", data=form) as answer:
        posted = await answer.json()
    assert posted["ok"]
    assert posted["message"]["attachments"] == [{"color": "good"}]


async def test_slack_pages_its_history_newest_first(slack: AsyncWebClient) -> None:
    mark = {"event_type": "t", "event_payload": {"n": 1}}
    sent = [
        await slack.chat_postMessage(channel="#incidents", text=str(number), metadata=mark)
        for number in range(5)
    ]
    place, stamps = str(sent[0]["channel"]), [str(item["ts"]) for item in sent]
    assert stamps == sorted(set(stamps), key=float)

    first = await slack.conversations_history(channel=place, limit=2)
    assert [message["text"] for message in first["messages"]] == ["4", "3"]
    assert "metadata" not in first["messages"][0]
    cursor = first["response_metadata"]["next_cursor"]
    rest = await slack.conversations_history(channel=place, limit=9, cursor=cursor, include_all_metadata=True)
    assert [message["text"] for message in rest["messages"]] == ["2", "1", "0"]
    assert rest["messages"][0]["metadata"] == mark
    since = await slack.conversations_history(channel=place, oldest=stamps[2], latest=stamps[4])
    assert [message["text"] for message in since["messages"]] == ["3"]


async def test_an_edited_message_keeps_its_place_and_its_metadata(slack: AsyncWebClient) -> None:
    mark = {"event_type": "t", "event_payload": {"n": 1}}
    posted = await slack.chat_postMessage(channel="#incidents", text="one", metadata=mark)
    await slack.chat_update(channel=posted["channel"], ts=posted["ts"], text="two")
    seen = await slack.conversations_history(channel=posted["channel"], include_all_metadata=True)
    (message,) = seen["messages"]
    assert (message["text"], message["metadata"], message["ts"]) == ("two", mark, posted["ts"])
    assert message["edited"]


async def test_a_repeated_edit_is_seen_though_there_is_one_message(
    slack: AsyncWebClient, receivers: Receivers
) -> None:
    def mark(delivery: str) -> dict[str, object]:
        return {"event_type": "t", "event_payload": {"incident_id": "i", "delivery_id": delivery}}

    posted = await slack.chat_postMessage(channel="#incidents", text="one", metadata=mark("first"))
    place, ts = posted["channel"], posted["ts"]
    for number in ("second", "third"):
        await slack.chat_update(channel=place, ts=ts, text="same", metadata=mark(number))
    assert receipts_in(receivers.directory).repeated == ()
    await slack.chat_update(channel=place, ts=ts, text="same", metadata=mark("second"))

    seen = receipts_in(receivers.directory)
    assert (seen.slack_messages, seen.slack_edits) == (1, 3)
    assert seen.repeated == ("Slack delivery second",)


@pytest.mark.parametrize(
    ("incident", "said"),
    [
        ({}, "Name can't be blank"),
        ({"name": "x", "status": "broken"}, "Status is not included in the list"),
        ({"name": "x", "impact_override": "huge"}, "Impact override is not included in the list"),
        ({"name": "x", "component_ids": ["other"]}, "Component other does not exist on this page"),
    ],
)
async def test_the_page_says_what_it_cannot_store(
    receivers: Receivers, session: aiohttp.ClientSession, incident: dict[str, object], said: str
) -> None:
    url = receivers.addresses["statuspage"] + "/pages/docrag/incidents"
    async with session.post(url, json={"incident": incident}, headers=PAGE) as answer:
        assert (answer.status, await answer.json()) == (422, {"error": [said]})
    assert receivers.incidents() == []


async def test_everything_is_there_after_a_kill(
    receivers: Receivers, session: aiohttp.ClientSession, slack: AsyncWebClient
) -> None:
    await slack.chat_postMessage(channel="#incidents", text="kept")
    url = receivers.addresses["statuspage"] + "/pages/docrag/incidents"
    incident = {"name": "kept", "impact_override": "minor", "body": "b"}
    async with session.post(url, json={"incident": incident}, headers=PAGE) as answer:
        assert answer.status == 201
    smtp = receivers.addresses["smtp"]
    mail = "From: a@x.example\r\nTo: b@x.example\r\nSubject: kept\r\nMessage-ID: <1@x>\r\n\r\nb\r\n"
    await aiosmtplib.send(
        mail, sender="a@x.example", recipients=["b@x.example"], hostname=smtp["host"], port=smtp["port"]
    )
    ports = receivers.ports()
    assert receivers.process is not None
    receivers.process.kill()
    receivers.stop()
    receivers.start(*ports)

    assert [message["text"] for message in receivers.messages()] == ["kept"]
    async with session.get(f"{url}/unresolved", headers=PAGE) as answer:
        assert [item["name"] for item in await answer.json()] == ["kept"]
    assert [item["message_id"] for item in receivers.mails()] == ["<1@x>"]
    assert (receivers.directory / "mailbox" / "0001-kept.eml").read_bytes().endswith(b"b\r\n")
