"""The known files are real and stable, and each implementation reads them; bad files are told from faults."""

import io
import time
from collections.abc import Iterator

import pytest
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen.canvas import Canvas

from examples.docrag import corpus
from examples.docrag.accuracy import accuracy
from examples.docrag.chaos import Chaos, ChaosSwitch
from examples.docrag.corpus import KnownFile
from examples.docrag.extraction import (
    ExtractionFailed,
    Extractors,
    NoExtractor,
    Plan,
    UnreadableDocument,
    plan_for,
)
from examples.docrag.routing import (
    ENHANCED_ORDER,
    OriginalConfiguration,
    OriginalSettings,
    initial,
    with_enhanced,
    with_mode,
)
from examples.docrag.validation import validate

KNOWN = corpus.build()
ORIGINAL = OriginalConfiguration()


@pytest.fixture
def chaos() -> ChaosSwitch:
    return ChaosSwitch()


@pytest.fixture
def extractors(chaos: ChaosSwitch) -> Iterator[Extractors]:
    running = Extractors(chaos)
    yield running
    running.close()


def test_every_build_gives_the_same_bytes() -> None:
    assert [known.sha256 for known in corpus.build()] == [known.sha256 for known in KNOWN]
    assert len({known.sha256 for known in KNOWN}) == len(KNOWN)


def test_the_corpus_has_several_layouts_fonts_and_sizes() -> None:
    readers = [PdfReader(io.BytesIO(known.content)) for known in KNOWN]
    sizes = {tuple(page.mediabox) for reader in readers for page in reader.pages}
    fonts = {
        str(font.get_object()["/BaseFont"])
        for reader in readers
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()
    }
    assert len(sizes) >= 4
    assert {"/Courier", "/Times-Roman", "/Helvetica"} <= fonts
    assert any("Vera" in font for font in fonts), "one file carries its own font"
    assert max(len(known.pages) for known in KNOWN) == 5


def test_written_files_hold_what_was_built(tmp_path) -> None:
    corpus.write(tmp_path)
    for known in KNOWN:
        assert (tmp_path / known.name).read_bytes() == known.content
        text = (tmp_path / known.name).with_suffix(".txt").read_text(encoding="utf-8")
        assert tuple(text.split("\f")) == known.pages


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
@pytest.mark.parametrize("plan", [ORIGINAL, ("pypdf",), ("pdfplumber",), ("pymupdf",)], ids=str)
async def test_every_implementation_reads_every_file(
    extractors: Extractors, known: KnownFile, plan: Plan
) -> None:
    extraction = await extractors.extract(known.content, known.name, plan)
    assert len(extraction.pages) == len(known.pages)
    assert accuracy(known.text, extraction.text) >= 0.95
    assert extraction.library == ("pypdfium2" if plan is ORIGINAL else plan[0])
    assert 0 < extraction.seconds_per_page < 10


def test_accuracy_counts_loss_invention_and_order() -> None:
    known = "one two three four five six seven eight nine ten"
    assert accuracy(known, "One, two\nthree four five — six seven eight nine TEN.") == 1.0
    assert accuracy(known, "one two three four five six seven eight") == pytest.approx(2 * 8 / 18)
    assert accuracy(known, f"{known} eleven twelve") == pytest.approx(2 * 10 / 22)
    assert accuracy(known, "six seven eight nine ten one two three four five") == pytest.approx(0.5)
    assert accuracy(known, "") == 0.0


def _encrypted() -> bytes:
    writer = PdfWriter(io.BytesIO(KNOWN[0].content))
    writer.encrypt("secret", algorithm="RC4-128")
    buffer = io.BytesIO()
    writer.write(buffer)
    return buffer.getvalue()


def _without_text() -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, invariant=1)
    canvas.rect(100, 100, 200, 200)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


BAD_DOCUMENTS = {
    "empty": b"",
    "no pdf": b"hello",
    "rubbish behind the header": b"%PDF-1.7\nrubbish",
    "cut in half": KNOWN[4].content[: len(KNOWN[4].content) // 2],
    "encrypted": _encrypted(),
    "no text": _without_text(),
}


@pytest.mark.parametrize("kind", BAD_DOCUMENTS)
@pytest.mark.parametrize("plan", [ORIGINAL, ENHANCED_ORDER], ids=["original", "enhanced"])
async def test_a_bad_document_is_called_unreadable(extractors: Extractors, kind: str, plan: Plan) -> None:
    with pytest.raises(UnreadableDocument, match=r"doc\.pdf"):
        await extractors.extract(BAD_DOCUMENTS[kind], "doc.pdf", plan)


async def test_too_many_pages_are_refused(extractors: Extractors) -> None:
    narrow = OriginalConfiguration(settings=OriginalSettings(max_pages=4))
    with pytest.raises(UnreadableDocument, match="5 pages are more than the limit of 4"):
        await extractors.extract(KNOWN[4].content, "multi_page.pdf", narrow)


async def test_a_delay_holds_the_enhanced_extractors_only(extractors: Extractors, chaos: ChaosSwitch) -> None:
    chaos.current = Chaos(enhanced_delay_s=0.4)
    slow = await extractors.extract(KNOWN[0].content, "a.pdf", ENHANCED_ORDER)
    fast = await extractors.extract(KNOWN[0].content, "a.pdf", ORIGINAL)
    assert slow.seconds >= 0.4 > fast.seconds


async def test_closing_ends_a_delay_at_once(chaos: ChaosSwitch) -> None:
    chaos.current = Chaos(enhanced_delay_s=30)
    extractors = Extractors(chaos)
    started = time.monotonic()
    extractors.release()
    await extractors.extract(KNOWN[0].content, "a.pdf", ENHANCED_ORDER)
    extractors.close()
    assert time.monotonic() - started < 5


async def test_injected_failures_hit_a_class_of_files(extractors: Extractors, chaos: ChaosSwitch) -> None:
    chaos.current = Chaos(fail_files_matching="table")
    table = next(known for known in KNOWN if known.name == "table.pdf")
    with pytest.raises(ExtractionFailed, match=r"pypdf.*pdfplumber.*pymupdf"):
        await extractors.extract(table.content, table.name, ENHANCED_ORDER)
    assert (await extractors.extract(table.content, table.name, ORIGINAL)).pages
    assert (await extractors.extract(KNOWN[0].content, KNOWN[0].name, ENHANCED_ORDER)).pages


async def test_lost_lines_cost_accuracy(extractors: Extractors, chaos: ChaosSwitch) -> None:
    before = await validate(extractors, ENHANCED_ORDER, KNOWN)
    chaos.current = Chaos(enhanced_lose_nth_line=3)
    after = await validate(extractors, ENHANCED_ORDER, KNOWN)
    original = await validate(extractors, ORIGINAL, KNOWN)
    assert before["passed"]
    assert original["passed"]
    assert not after["passed"]
    assert after["accuracy_mean"] < 0.9 < before["accuracy_min"]


async def test_a_failed_file_counts_with_accuracy_zero(extractors: Extractors, chaos: ChaosSwitch) -> None:
    chaos.current = Chaos(fail_files_matching="table")
    result = await validate(extractors, ENHANCED_ORDER, KNOWN)
    assert result["passed"] is False
    assert result["accuracy_min"] == 0.0
    assert [detail["file"] for detail in result["details"] if "error" in detail] == ["table.pdf"]


def test_the_plan_follows_the_routing() -> None:
    deployed = with_mode(initial(), "enhanced", ORIGINAL)
    assert plan_for(initial()) == ORIGINAL
    assert plan_for(deployed) == ENHANCED_ORDER
    with pytest.raises(NoExtractor, match="disabled"):
        plan_for(with_enhanced(deployed, enabled=False))
