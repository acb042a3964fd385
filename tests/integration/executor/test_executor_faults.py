"""A database that goes away, and a target that answers in every way a target can."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from services.executor.adapters.http_actions import MAX_ANSWER_BYTES, HttpActions, new_session
from services.executor.domain.playbook import Honoured, HttpCall, HttpCheck
from services.executor.domain.steps import Acted, Landing, Seen, Sight
from services.executor.domain.templates import Names
from services.executor.handlers.step_run import _bounded
from tests.integration.executor.stage import COMPONENT, Executors, poll_until, rollback
from tests.integration.executor.target import Target

END_CONNECTIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


async def test_a_database_that_drops_every_connection_is_waited_for(
    executors: Executors, target: Target
) -> None:
    target.faults.delay = {"enhanced": 0.5, "original": 0.5, "routing": 0.5}
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    for part in ("enhanced", "original", "routing"):

        async def under_way(part: str = part) -> bool:
            return any(asked == part for asked, _ in target.requests)

        await poll_until(under_way, what=f"the request {part}", timeout_s=40)
        await executors.rows(END_CONNECTIONS)
    end = await executors.ended()
    await executors.command(rollback("nothing"), event_id="command-2", component="nothing")
    await executors.until(lambda found: any(item.reason == "no_playbook" for item in found), what="the next")

    assert end.status == "Success"
    assert target.applied(COMPONENT) == ["enhanced", "original", "validate", "routing"]
    assert executors.processes["one"].poll() is None


async def test_answers_that_no_database_could_hold_are_journaled_all_the_same(
    executors: Executors, target: Target
) -> None:
    # What services of Python and others answer: NaN is no JSON, and no text of Postgres has a NUL.
    target.component(COMPONENT).update(latency=math.nan, note="a\0b", half="\ud800")
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()

    assert (end.status, end.why) == ("Success", "every step was seen to be done")
    sql = "SELECT memory ->> 'prior' AS prior FROM executor.journal WHERE kind = 'step_started'"
    prior = json.loads((await executors.rows(sql))[0]["prior"])
    assert prior == {
        "enhanced": True,
        "original": False,
        "routing": "enhanced",
        "latency": None,
        "note": "a\ufffdb",
        "half": "?",
    }


async def test_an_undo_restores_what_was_observed_though_it_looks_like_a_template(
    executors: Executors, target: Target
) -> None:
    before = "/{component}/{id} of {target.sample}"
    target.component(COMPONENT)["enhanced"] = before
    target.faults.refuse = {"original": (400, 1)}
    executors.start()
    await executors.command(rollback(), event_id="command-1")
    end = await executors.ended()

    assert target.component(COMPONENT)["enhanced"] == before
    assert (end.status, end.reason) == ("Failed", "step_failed")


@pytest.fixture
async def answering() -> AsyncIterator[str]:
    """A server that answers with the status, or the trouble, that the path names."""
    never = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        word = request.match_info["word"]
        if word == "stale":
            return web.json_response({"error": "stale epoch"}, status=409)
        if word == "moved":
            raise web.HTTPTemporaryRedirect("/200")
        if word == "long":
            return web.Response(body=b"x" * (MAX_ANSWER_BYTES + 1))
        if word == "hung":
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if word == "text":
            return web.Response(text="not json")
        if word == "noise":
            return web.Response(status=400, body=b"\0\xff no \xfc text")
        if word == "deep":
            return web.Response(status=400, body=b"[" * 900 + b"]" * 900)
        if word == "surrogate":
            return web.Response(status=400, body=b'{"error": "\\ud800"}')
        if word == "late":
            await request.content.read()
            await never.wait()
        return web.json_response({"mode": "original"}, status=int(word) if word.isdigit() else 200)

    app = web.Application()
    app.router.add_route("*", "/{word}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    never.set()
    await runner.cleanup()


async def call(
    url: str, word: str, *, expect: tuple[int, ...] = (), honours: tuple[Honoured, ...] = ("epoch",)
) -> Acted:
    names = Names(component="extractor", execution="rb-1", targets={"x": url})
    request = HttpCall(
        method="PUT", url=f"{{target.x}}/{word}", body={"a": 1}, expect_status=expect, honours=honours
    )
    async with new_session() as session:
        return await HttpActions(session).call(request, names, key="k", epoch=3, timeout_s=1.0)


async def look(url: str, word: str, *, json: object = None, status: int = 200) -> Seen:
    names = Names(component="extractor", execution="rb-1", targets={"x": url})
    check = HttpCheck(url=f"{{target.x}}/{word}", status=status, expect_json=json)
    async with new_session() as session:
        return await HttpActions(session).check(check, names, timeout_s=1.0)


@pytest.mark.parametrize(
    ("word", "landing", "retryable"),
    [
        ("200", Landing.APPLIED, False),
        ("204", Landing.APPLIED, False),
        ("400", Landing.REFUSED, False),
        ("403", Landing.REFUSED, False),
        ("409", Landing.REFUSED, False),
        ("moved", Landing.REFUSED, False),
        ("429", Landing.REFUSED, True),
        # Who breaks down may have begun.
        ("500", Landing.UNKNOWN, True),
        ("503", Landing.UNKNOWN, True),
        # Whoever stands behind a gateway may still be at work.
        ("502", Landing.UNKNOWN, True),
        ("504", Landing.UNKNOWN, True),
        ("hung", Landing.UNKNOWN, True),
        ("late", Landing.UNKNOWN, True),
        ("long", Landing.UNKNOWN, True),
    ],
)
async def test_what_an_answer_means_for_the_effect(
    answering: str, word: str, landing: Landing, retryable: bool
) -> None:
    acted = await call(answering, word)

    assert (acted.landing, acted.retryable) == (landing, retryable)
    assert acted.detail


async def test_what_breaks_down_has_applied_nothing_where_the_key_is_honoured(answering: str) -> None:
    acted = await call(answering, "503", honours=("idempotency_key",))

    assert (acted.landing, acted.retryable) == (Landing.REFUSED, True)


async def test_a_status_that_is_expected_is_a_yes(answering: str) -> None:
    assert (await call(answering, "404", expect=(200, 404))).landing is Landing.APPLIED
    assert (await call(answering, "204", expect=(200,))).landing is Landing.REFUSED


async def test_where_nobody_listens_nothing_lands() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        acted = await call(f"http://127.0.0.1:{free.getsockname()[1]}", "200")

    assert (acted.landing, acted.retryable) == (Landing.REFUSED, True)


async def test_a_refused_epoch_is_told_from_other_refusals(answering: str) -> None:
    acted = await call(answering, "stale")

    assert (acted.landing, acted.retryable) == (Landing.FENCED, False)
    assert "/stale refuses epoch 3" in acted.detail
    # A target that does not promise to check it may say so for reasons of its own.
    assert (await call(answering, "stale", honours=())).landing is Landing.REFUSED


@pytest.mark.parametrize("word", ["noise", "surrogate", "deep"])
async def test_what_is_said_of_an_answer_is_a_text(answering: str, word: str) -> None:
    assert _bounded((await look(answering, word)).value)
    for said in ((await call(answering, word)).detail, (await look(answering, word)).detail):
        assert "\0" not in said
        assert said.encode()


async def test_a_password_in_a_targets_address_is_not_told(answering: str) -> None:
    with_password = answering.replace("http://", "http://backout:s3cret@")
    broken = "http://backout:s3cret@[::1"
    said = [
        (await call(with_password, "stale")).detail,
        (await call(with_password, "400")).detail,
        (await look(with_password, "503")).detail,
        (await call(broken, "200")).detail,
        (await look(broken, "200")).detail,
    ]

    assert said[0].startswith("{target.x}/stale refuses epoch 3")
    assert not [words for words in said if "s3cret" in words or not words]


async def test_an_unknown_target_is_not_asked() -> None:
    names = Names(component="extractor", execution="rb-1", targets={})
    async with aiohttp.ClientSession() as session:
        request = HttpCall(method="PUT", url="{target.x}/a")
        acted = await HttpActions(session).call(request, names, key="k", epoch=1, timeout_s=1.0)

    assert acted.landing is Landing.REFUSED
    assert "there is no target 'x'" in acted.detail


@pytest.mark.parametrize(
    ("word", "json", "sight"),
    [
        ("200", None, Sight.DONE),
        ("200", {"mode": "original"}, Sight.DONE),
        ("200", {"mode": "enhanced"}, Sight.NOT_DONE),
        ("text", {"mode": "original"}, Sight.NOT_DONE),
        ("404", None, Sight.NOT_DONE),
        ("404", {"mode": "original"}, Sight.UNKNOWN),
        ("401", None, Sight.UNKNOWN),
        ("429", None, Sight.UNKNOWN),
        ("503", None, Sight.UNKNOWN),
        ("hung", None, Sight.UNKNOWN),
        ("late", None, Sight.UNKNOWN),
        ("long", None, Sight.UNKNOWN),
    ],
)
async def test_what_a_look_shows(answering: str, word: str, json: object, sight: Sight) -> None:
    assert (await look(answering, word, json=json)).sight is sight
