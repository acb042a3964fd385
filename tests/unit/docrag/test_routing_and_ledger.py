"""Decisions as pure functions: the configuration and its changes, the ledger's verdicts, reconciliation."""

import json
from typing import Any

import pytest

from examples.docrag.configuration_file import ConfigurationFiles
from examples.docrag.ledger import (
    Agreement,
    BadControlHeader,
    ControlRequest,
    Verdict,
    compare,
    decide,
    parse_epoch,
    parse_key,
)
from examples.docrag.routing import (
    ChangeRefused,
    ConfigurationError,
    ExtractionConfiguration,
    OriginalConfiguration,
    checksum,
    checksum_of,
    describe,
    initial,
    seal,
    unseal,
    with_enhanced,
    with_mode,
    with_original,
    with_routing,
)

BACKUP = OriginalConfiguration()


# --- the configuration and its checksum ---


def test_a_sealed_document_reads_back() -> None:
    config = with_mode(initial(), "enhanced", BACKUP)
    content = json.dumps(seal(config)).encode()
    assert unseal(content, ExtractionConfiguration, "extraction.json") == config


def _tampered(**changes: Any) -> bytes:
    return json.dumps({**seal(initial()), **changes}).encode()


def _resealed(**changes: Any) -> bytes:
    document = {**seal(initial()), **changes}
    return json.dumps({**document, "checksum": checksum(document)}).encode()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "no JSON object"),
        (_tampered(mode="enhanced"), "changed or damaged"),
        (_tampered(epoch=7), "changed or damaged"),
        (_tampered(checksum=None), "changed or damaged"),
        (_tampered(extra=1), "changed or damaged"),
        (_resealed(mode="neural"), "mode"),
        (_resealed(epoch=-1), "epoch"),
        (_resealed(surprise=True), "surprise"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused_with_place_and_mend(content: bytes, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault) as caught:
        unseal(content, ExtractionConfiguration, "extraction.json")
    assert "extraction.json" in str(caught.value)
    assert "put the last intact copy back" in str(caught.value)


def test_the_file_notices_a_change_behind_its_back(tmp_path) -> None:
    files = ConfigurationFiles(tmp_path)
    files.write(initial())
    assert files.read() == initial()
    files.path.write_bytes(files.path.read_bytes().replace(b'"original"', b'"enhanced"', 1))
    with pytest.raises(ConfigurationError, match=r"extraction\.json was changed"):
        files.read()
    files.write(initial())
    assert files.read() == initial()


def test_a_missing_file_is_an_error_not_a_default(tmp_path) -> None:
    files = ConfigurationFiles(tmp_path)
    with pytest.raises(ConfigurationError, match=r"extraction\.json cannot be read"):
        files.read()
    with pytest.raises(ConfigurationError, match=r"extraction\.backup\.json cannot be read"):
        files.read_backup()


def test_no_temporary_file_stays_behind(tmp_path) -> None:
    files = ConfigurationFiles(tmp_path)
    files.write(initial())
    files.write_backup(BACKUP)
    assert {path.name for path in tmp_path.iterdir()} == {"extraction.json", "extraction.backup.json"}
    assert files.read_backup() == BACKUP


# --- its changes ---


def test_deploying_retires_the_other_implementation() -> None:
    deployed = describe(with_mode(initial(), "enhanced", BACKUP), 3)
    assert deployed["mode"] == "enhanced"
    assert deployed["original"] == {"initialized": False, "implementation": None, "config_checksum": None}
    assert all(switch["enabled"] for switch in deployed["enhanced"].values())
    assert deployed["epoch"] == 3


def test_backing_out_step_by_step_ends_where_it_began() -> None:
    config = with_mode(initial(), "enhanced", BACKUP)
    config = with_enhanced(config, enabled=False)
    config = with_original(config, BACKUP)
    config = with_routing(config, "original")
    assert config == initial()
    assert with_mode(with_mode(initial(), "enhanced", BACKUP), "original", BACKUP) == initial()


def test_the_restored_configuration_is_the_backed_up_one() -> None:
    restored = with_original(with_mode(initial(), "enhanced", BACKUP), BACKUP)
    assert describe(restored, 0)["original"]["config_checksum"] == checksum_of(BACKUP)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda: with_routing(with_mode(initial(), "enhanced", BACKUP), "original"), "not initialized"),
        (lambda: with_routing(initial(), "enhanced"), "no enhanced extractor is enabled"),
        (lambda: with_original(initial(), None), "while extraction is routed to it"),
    ],
)
def test_a_change_that_leads_nowhere_is_refused(change, reason: str) -> None:
    with pytest.raises(ChangeRefused, match=reason):
        change()


# --- the ledger ---


def _request(key: str = "x/1", epoch: int | None = None, **body: Any) -> ControlRequest:
    return ControlRequest(key, epoch, "PUT", "/components/pdf_extraction", body or {"mode": "original"})


SAME = _request().fingerprint
OTHER = _request(mode="enhanced").fingerprint


@pytest.mark.parametrize(
    ("epoch", "recorded", "highest", "verdict", "highest_after"),
    [
        (None, None, 0, Verdict.APPLY, 0),
        (None, None, 5, Verdict.APPLY, 5),
        (5, None, 5, Verdict.APPLY, 5),
        (6, None, 5, Verdict.APPLY, 6),
        (4, None, 5, Verdict.STALE_EPOCH, 5),
        (None, SAME, 5, Verdict.REPLAY, 5),
        (6, SAME, 5, Verdict.REPLAY, 6),
        (4, SAME, 5, Verdict.STALE_EPOCH, 5),
        (6, OTHER, 5, Verdict.KEY_REUSED, 5),
        (4, OTHER, 5, Verdict.STALE_EPOCH, 5),
        (0, None, 1, Verdict.STALE_EPOCH, 1),
    ],
)
def test_verdicts(
    epoch: int | None, recorded: str | None, highest: int, verdict: Verdict, highest_after: int
) -> None:
    decision = decide(_request(epoch=epoch), recorded, highest)
    assert (decision.verdict, decision.highest_epoch) == (verdict, highest_after)


def test_the_fingerprint_covers_method_path_and_body_but_not_epoch() -> None:
    assert _request(epoch=1).fingerprint == _request(epoch=2).fingerprint
    assert (
        ControlRequest("x/1", None, "POST", "/components/pdf_extraction", {"mode": "original"}).fingerprint
        != SAME
    )
    assert ControlRequest("x/1", None, "PUT", "/elsewhere", {"mode": "original"}).fingerprint != SAME
    assert OTHER != SAME


@pytest.mark.parametrize(
    ("file", "recorded", "previous", "agreement"),
    [
        (None, None, None, Agreement.FIRST_START),
        ("a", None, None, Agreement.ADOPT),
        (None, "a", None, Agreement.REBUILD),
        ("a", "a", None, Agreement.AGREE),
        ("b", "b", "a", Agreement.AGREE),
        ("a", "b", "a", Agreement.ROLL_FORWARD),
        ("c", "b", "a", Agreement.FOREIGN),
        ("c", "b", None, Agreement.FOREIGN),
    ],
)
def test_reconciliation(
    file: str | None, recorded: str | None, previous: str | None, agreement: Agreement
) -> None:
    assert compare(file, recorded, previous) is agreement


@pytest.mark.parametrize("header", ["", " a", "a ", "a\tb", "x" * 201])
def test_bad_keys(header: str) -> None:
    with pytest.raises(BadControlHeader, match="Idempotency-Key"):
        parse_key(header)


@pytest.mark.parametrize("header", ["", "-1", "1.5", "one", "٣", "9" * 19])
def test_bad_epochs(header: str) -> None:
    with pytest.raises(BadControlHeader, match="X-Backout-Epoch"):
        parse_epoch(header)


def test_good_headers() -> None:
    assert parse_key(None) is None
    assert parse_key("exec-1/disable") == "exec-1/disable"
    assert parse_epoch(None) is None
    assert parse_epoch("0") == 0
    assert parse_epoch("42") == 42
