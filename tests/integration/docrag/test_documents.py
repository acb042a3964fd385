"""Documents in, answers with citations out, with either implementation; bad documents get a clear answer."""

import asyncio
import io
import time

import pytest

from examples.docrag import corpus
from tests.integration.docrag.service import COMPONENT, Service

KNOWN = corpus.build()


@pytest.mark.parametrize(("mode", "library"), [("original", "pypdfium2"), ("enhanced", "pypdf")])
async def test_a_question_is_answered_with_a_citation(service: Service, mode: str, library: str) -> None:
    assert (await service.put(COMPONENT, {"mode": mode})).status == 200
    for known in KNOWN:
        uploaded = await service.upload(known.name, known.content)
        assert uploaded.status == 201, uploaded.body
        assert uploaded.body["library"] == library
        assert uploaded.body["pages"] == len(known.pages)
        assert uploaded.body["sha256"] == known.sha256
    found = (await service.get("/query", q="When did the lens come to Gull Rock?")).body
    best = found["citations"][0]
    assert (best["document"], best["page"]) == ("multi_page.pdf", 3)
    assert best["score"] > 0
    assert best["chunk_id"] > 0
    assert "<b>" in best["snippet"]
    assert "A lens of the second order came by ship from France" in found["answer"]


async def test_a_document_uploaded_again_replaces_itself(service: Service) -> None:
    first = (await service.upload("doc.pdf", KNOWN[0].content)).body
    await asyncio.gather(*(service.upload("doc.pdf", KNOWN[2].content) for _ in range(5)))
    again = (await service.upload("doc.pdf", KNOWN[2].content)).body
    assert again["document_id"] == first["document_id"]
    assert (await service.get("/query", q="housing bolts")).body["citations"] == []
    cited = (await service.get("/query", q="Sidama natural")).body["citations"]
    assert [citation["document"] for citation in cited] == ["doc.pdf"], "stored once, not six times"


async def test_a_question_without_known_words_has_no_answer(service: Service) -> None:
    await service.upload("doc.pdf", KNOWN[0].content)
    assert (await service.get("/query", q="zebra")).body == {
        "query": "zebra",
        "answer": None,
        "citations": [],
    }
    assert (await service.get("/query", q="the of and")).status == 200
    assert (await service.get("/query", q="'; DROP SCHEMA docrag; -- & | ! ( ' <->")).status == 200


@pytest.mark.parametrize("mode", ["original", "enhanced"])
@pytest.mark.parametrize(
    "content", [b"", b"hello", b"%PDF-1.7\nrubbish", KNOWN[1].content[:900]], ids=range(4)
)
async def test_a_bad_document_is_unprocessable(service: Service, mode: str, content: bytes) -> None:
    await service.put(COMPONENT, {"mode": mode})
    answer = await service.upload("bad.pdf", content)
    assert (answer.status, answer.body["error"]) == (422, "unreadable document")
    assert "bad.pdf" in answer.body["message"]


async def test_bad_requests_name_what_is_wrong(service: Service) -> None:
    assert (await service.upload("", KNOWN[0].content)).status == 400
    assert (await service.upload("x" * 201, KNOWN[0].content)).status == 400
    assert (await service.upload("big.pdf", io.BytesIO(b"x" * 20_000_001))).status == 413
    assert (await service.get("/query", q=" ")).status == 400
    assert (await service.get("/query", q="x", limit="0")).status == 400
    missing = await service.get("/nowhere")
    assert (missing.status, missing.body["error"]) == (404, "not found")


async def test_a_delay_slows_the_enhanced_implementation_and_nothing_else(service: Service) -> None:
    assert (await service.put("/chaos", {"enhanced_delay_s": 1.0})).status == 200
    original = (await service.upload("a.pdf", KNOWN[0].content)).body
    assert original["seconds_per_page"] < 0.5
    await service.put(COMPONENT, {"mode": "enhanced"})
    started = time.monotonic()
    slow = asyncio.gather(*(service.upload(f"{n}.pdf", KNOWN[0].content) for n in range(8)))
    health = await service.get("/healthz")
    answered_meanwhile = not slow.done()
    answers = await slow
    assert health.status == 200
    assert answered_meanwhile, "the event loop stays responsive"
    assert all(answer.body["seconds_per_page"] >= 1.0 for answer in answers)
    assert time.monotonic() - started < 8, "slow extractions wait beside each other"
    assert (await service.delete("/chaos")).body["enhanced_delay_s"] == 0
    assert (await service.upload("a.pdf", KNOWN[0].content)).body["seconds_per_page"] < 0.5


async def test_failures_on_a_class_of_files_are_the_services_fault(service: Service) -> None:
    await service.put(COMPONENT, {"mode": "enhanced"})
    await service.put("/chaos", {"fail_files_matching": "table"})
    failed = await service.upload("table.pdf", KNOWN[2].content)
    assert (failed.status, failed.body["error"]) == (500, "extraction failed")
    assert (await service.upload("other.pdf", KNOWN[0].content)).status == 201
    judged = await service.post(f"{COMPONENT}/validate?implementation=enhanced", {"suite": "pdf_extraction"})
    assert judged.body["passed"] is False
    judged = await service.post(f"{COMPONENT}/validate", {"suite": "pdf_extraction"})
    assert judged.status == 409, "the original extractor is shut down while the enhanced ones are deployed"


async def test_bad_faults_are_refused(service: Service) -> None:
    for body in ({"enhanced_delay_s": -1}, {"enhanced_delay_s": 31}, {"surprise": 1}, []):
        assert (await service.put("/chaos", body)).status == 400
    assert (await service.get("/chaos")).body == {
        "enhanced_delay_s": 0,
        "fail_files_matching": None,
        "enhanced_lose_nth_line": None,
    }
