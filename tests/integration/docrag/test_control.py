"""The control plane: the steps of backing out, keys, epochs, and files that nobody may tamper with."""

import asyncio
import json
from typing import Any

import pytest

from examples.docrag import corpus
from examples.docrag.routing import checksum
from tests.integration.docrag.service import COMPONENT, Answer, Service

PDF = corpus.build()[0]


async def test_backing_out_step_by_step(service: Service) -> None:
    before = (await service.get(COMPONENT)).body
    assert (before["mode"], before["original"]["initialized"]) == ("original", True)
    await service.put(COMPONENT, {"mode": "enhanced"}, key="deploy", epoch=1)
    deployed = (await service.get(COMPONENT)).body
    assert (deployed["mode"], deployed["original"]["initialized"]) == ("enhanced", False)
    assert (await service.get("/health/original-extractor")).status == 200, "it can be restored"
    assert (await service.get("/health/enhanced-extractor")).status == 200

    disabled = await service.put(f"{COMPONENT}/enhanced", {"enabled": False}, key="e/1", epoch=2)
    assert disabled.body["enhanced"] == {
        "pypdf": {"enabled": False},
        "pdfplumber": {"enabled": False},
        "pymupdf": {"enabled": False},
    }
    assert disabled.body["routing"] == {"mode": "enhanced"}
    assert (await service.get("/health/enhanced-extractor")).status == 503
    between = await service.upload("a.pdf", PDF.content)
    assert (between.status, between.body["error"]) == (503, "no extractor")
    too_early = await service.put(f"{COMPONENT}/routing", {"mode": "original"}, key="e/4", epoch=2)
    assert (too_early.status, too_early.body["error"]) == (409, "refused")

    restored = await service.put(f"{COMPONENT}/original", {"restore": "backup"}, key="e/2", epoch=2)
    assert restored.body["original"] == before["original"]
    validated = await service.post(f"{COMPONENT}/validate", {"suite": "pdf_extraction"}, key="e/3", epoch=2)
    assert validated.body["passed"] is True
    assert validated.body["files"] == 8
    assert validated.body["accuracy_min"] >= 0.95
    assert validated.body["seconds_per_page"]["max"] < 1.0
    routed = await service.put(f"{COMPONENT}/routing", {"mode": "original"}, key="e/4", epoch=2)
    assert routed.status == 200, "a refused request does not use its key up"
    assert (await service.upload("a.pdf", PDF.content)).body["library"] == "pypdfium2"

    after = (await service.get(COMPONENT)).body
    assert {**after, "epoch": 0} == before
    ledger = (await service.get("/effects")).body
    assert [entry["key"] for entry in ledger] == ["deploy", "e/1", "e/2", "e/3", "e/4"]
    assert all(entry["status"] == "applied" and entry["applied_at"] for entry in ledger)
    assert [entry["epoch"] for entry in ledger] == [1, 2, 2, 2, 2]


async def test_every_step_can_be_undone(service: Service) -> None:
    before = (await service.get(COMPONENT)).body
    await service.put(COMPONENT, {"mode": "enhanced"})
    deployed = (await service.get(COMPONENT)).body
    await service.put(f"{COMPONENT}/enhanced", {"enabled": False})
    await service.put(f"{COMPONENT}/original", {"restore": "backup"})
    await service.put(f"{COMPONENT}/routing", {"mode": "original"})
    assert (await service.get(COMPONENT)).body == before
    assert (await service.put(f"{COMPONENT}/enhanced", {"enabled": True})).status == 200
    assert (await service.put(f"{COMPONENT}/routing", {"mode": "enhanced"})).status == 200
    assert (await service.put(f"{COMPONENT}/original", {"initialized": False})).status == 200
    assert (await service.get(COMPONENT)).body == deployed


async def test_a_key_takes_effect_once(service: Service) -> None:
    first = await service.put(COMPONENT, {"mode": "enhanced"}, key="x/deploy", epoch=3)
    await service.put(COMPONENT, {"mode": "original"}, key="x/back", epoch=3)
    again = await service.put(COMPONENT, {"mode": "enhanced"}, key="x/deploy", epoch=3)
    assert again == first, "the first answer again"
    assert (await service.get(COMPONENT)).body["mode"] == "original", "and not applied again"
    other = await service.put(COMPONENT, {"mode": "original"}, key="x/deploy", epoch=3)
    assert (other.status, other.body["error"]) == (422, "key reused")
    effect = (await service.get("/effects/x/deploy")).body
    assert (effect["times_requested"], effect["status"], effect["body"]) == (
        2,
        "applied",
        {"mode": "enhanced"},
    )
    assert (await service.get("/effects/x/unknown")).status == 404


async def test_one_of_many_simultaneous_requests_takes_effect(service: Service) -> None:
    answers = await asyncio.gather(
        *(service.put(COMPONENT, {"mode": "enhanced"}, key="x/1", epoch=1) for _ in range(10))
    )
    assert {answer.status for answer in answers} == {200}
    assert all(answer.body == answers[0].body for answer in answers)
    (effect,) = (await service.get("/effects")).body
    assert effect["times_requested"] == 10


async def test_a_validation_under_a_key_is_answered_again(service: Service) -> None:
    first = await service.post(f"{COMPONENT}/validate", {"suite": "pdf_extraction"}, key="v/1")
    again = await service.post(f"{COMPONENT}/validate", {"suite": "pdf_extraction"}, key="v/1")
    fresh = await service.post(f"{COMPONENT}/validate", {"suite": "pdf_extraction"}, key="v/2")
    assert again == first
    assert fresh.body["details"] != first.body["details"], "its times were measured anew"


async def test_an_older_epoch_is_refused_also_after_a_restart(service: Service) -> None:
    assert (await service.put(COMPONENT, {"mode": "enhanced"}, key="a", epoch=5)).status == 200
    stale = await service.put(COMPONENT, {"mode": "original"}, key="b", epoch=4)
    assert (stale.status, stale.body["error"]) == (409, "stale epoch")
    assert (await service.put(COMPONENT, {"mode": "enhanced"}, key="a", epoch=4)).status == 409
    assert (await service.put(COMPONENT, {"mode": "enhanced"}, key="a", epoch=7)).status == 200
    await service.stop()
    await service.start()
    assert (await service.get(COMPONENT)).body["epoch"] == 7, "a repeated request raises the epoch too"
    assert (await service.put(COMPONENT, {"mode": "original"}, key="b", epoch=6)).status == 409
    by_hand = await service.put(COMPONENT, {"mode": "original"})
    assert (by_hand.status, by_hand.body["epoch"]) == (200, 7)
    first, _second = (await service.get("/effects")).body
    assert (first["key"], first["times_requested"]) == ("a", 2)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"mode": "neural"}),
        ("", {"mode": "original", "surprise": 1}),
        ("/enhanced", {"enabled": "no"}),
        ("/enhanced", {}),
        ("/original", {"restore": "yesterday"}),
        ("/original", {"initialized": True}),
        ("/routing", []),
    ],
)
async def test_a_malformed_change_is_refused(service: Service, path: str, body: Any) -> None:
    answer = await service.put(COMPONENT + path, body)
    assert (answer.status, answer.body["error"]) == (400, "bad request")
    assert answer.body["message"]
    assert (await service.get("/effects")).body == []


async def test_malformed_headers_are_refused(service: Service) -> None:
    assert (await service.put(COMPONENT, {"mode": "original"}, key="x" * 201)).status == 400
    assert (await service.put(COMPONENT, {"mode": "original"}, epoch=-1)).status == 400


# --- tampering ---


def _rewrite(service: Service, name: str, *, reseal: bool, **changes: Any) -> bytes:
    path = service.state_dir / name
    intact = path.read_bytes()
    document = {**json.loads(intact), **changes}
    if reseal:
        document["checksum"] = checksum(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return intact


@pytest.mark.parametrize("reseal", [False, True], ids=["checksum wrong", "checksum right"])
async def test_a_changed_configuration_is_never_used(service: Service, reseal: bool) -> None:
    intact = _rewrite(service, "extraction.json", reseal=reseal, epoch=99)
    unready = await service.get("/readyz")
    assert unready.status == 503
    assert "extraction.json" in unready.body["faults"]["configuration"]
    for answer in (await service.upload("a.pdf", PDF.content), await service.get(COMPONENT)):
        assert (answer.status, answer.body["error"]) == (500, "configuration")
    refused = await service.put(COMPONENT, {"mode": "original"}, key="a")
    assert refused.status == 409
    assert "extraction.json" in refused.body["message"]

    await service.stop()
    await service.start()
    assert (await service.get("/readyz")).status == 503, "nor after a restart"
    assert (await service.upload("a.pdf", PDF.content)).status == 500
    (service.state_dir / "extraction.json").write_bytes(intact)
    assert (await service.get("/readyz")).status == 200
    assert (await service.upload("a.pdf", PDF.content)).status == 201


async def test_a_damaged_backup_is_never_restored(service: Service) -> None:
    await service.put(COMPONENT, {"mode": "enhanced"})
    intact = _rewrite(service, "extraction.backup.json", reseal=False, settings={"max_pages": 1})
    sick = await service.get("/health/original-extractor")
    assert sick.status == 503
    assert "extraction.backup.json" in sick.body["error"]
    assert (await service.get("/readyz")).status == 503
    restore = await service.put(f"{COMPONENT}/original", {"restore": "backup"}, key="r")
    assert (restore.status, "extraction.backup.json" in restore.body["message"]) == (409, True)
    assert (await service.put(COMPONENT, {"mode": "original"})).status == 409
    assert (await service.upload("a.pdf", PDF.content)).status == 201, "the release itself still works"
    (service.state_dir / "extraction.backup.json").write_bytes(intact)
    assert (await service.put(f"{COMPONENT}/original", {"restore": "backup"}, key="r")).status == 200


async def test_nothing_is_deployed_without_a_way_back(service: Service) -> None:
    _rewrite(service, "extraction.backup.json", reseal=False, settings={"max_pages": 1})
    assert (await service.put(COMPONENT, {"mode": "enhanced"})).status == 409
    assert (await service.get(COMPONENT)).body["mode"] == "original"


async def test_a_lost_file_is_rebuilt_from_the_record(service: Service) -> None:
    await service.put(COMPONENT, {"mode": "enhanced"}, epoch=4)
    lost: Answer = await service.get(COMPONENT)
    (service.state_dir / "extraction.json").unlink()
    assert (await service.get("/readyz")).status == 503
    await service.stop()
    await service.start()
    assert (await service.get(COMPONENT)).body == lost.body
