"""The known documents: real PDF files in several layouts, fonts and sizes, with their text beside them.

Built from source instead of being committed as binaries, and byte for byte the same on every build
(`invariant=1`), so that an upload of a known file is recognised by its SHA-256 and its extraction can be
scored.

The known text is in reading order: what a person would read aloud. Columns are read one after the other,
tables row by row.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reportlab.lib.pagesizes import A4, A5, landscape, letter
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from examples.docrag import corpus_text as text

EMBEDDED_FONT = "Vera"
MARGIN = 54.0


@dataclass(frozen=True)
class KnownFile:
    """One document of the corpus. `pages` holds the known text, one entry a page, in reading order."""

    name: str
    content: bytes
    pages: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def text(self) -> str:
        """The known text of the whole document."""
        return "\n".join(self.pages)


class _Sheet:
    """A canvas that remembers what was drawn on it, so that file and known text cannot drift apart."""

    def __init__(self, title: str, size: tuple[float, float]) -> None:
        self.width, self.height = size
        self._buffer = io.BytesIO()
        self._canvas = Canvas(self._buffer, pagesize=size, invariant=1)
        self._canvas.setTitle(title)
        self._pages: list[list[str]] = [[]]

    def line(self, x: float, y: float, words: str, font: str, size: float) -> None:
        self._canvas.setFont(font, size)
        self._canvas.drawString(x, y, words)
        self._pages[-1].append(words)

    def paragraphs(
        self, sentences: Iterable[str], font: str, size: float, box: tuple[float, float, float]
    ) -> float:
        """Wrap sentences into a box (left, top, width in points); returns the height left below them."""
        left, y, width = box
        for sentence in sentences:
            for part in simpleSplit(sentence, font, size, width):
                y -= size * 1.35
                self.line(left, y, part, font, size)
            y -= size * 0.4
        return y

    def rule(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self._canvas.line(x1, y1, x2, y2)

    def next_page(self) -> None:
        self._canvas.showPage()
        self._pages.append([])

    def finish(self, name: str) -> KnownFile:
        self._canvas.showPage()
        self._canvas.save()
        return KnownFile(name, self._buffer.getvalue(), tuple("\n".join(lines) for lines in self._pages))


def _single_column() -> KnownFile:
    sheet = _Sheet("Pump P-204", A4)
    sheet.line(MARGIN, sheet.height - 60, "Maintenance of pump P-204", "Helvetica-Bold", 16)
    sheet.paragraphs(text.PUMP_MANUAL, "Helvetica", 11, (MARGIN, sheet.height - 80, sheet.width - 2 * MARGIN))
    return sheet.finish("single_column.pdf")


def _two_columns() -> KnownFile:
    sheet = _Sheet("The flood in the archive", A4)
    sheet.line(MARGIN, sheet.height - 60, "The flood in the lower archive", "Times-Bold", 18)
    width = (sheet.width - 3 * MARGIN) / 2
    half = len(text.FLOOD_REPORT) // 2
    for column, sentences in enumerate((text.FLOOD_REPORT[:half], text.FLOOD_REPORT[half:])):
        left = MARGIN + column * (width + MARGIN)
        sheet.paragraphs(sentences, "Times-Roman", 10.5, (left, sheet.height - 80, width))
    return sheet.finish("two_columns.pdf")


def _table() -> KnownFile:
    sheet = _Sheet("Coffee lots", letter)
    sheet.line(MARGIN, sheet.height - 60, "Coffee lots of the season", "Helvetica-Bold", 14)
    column, row, top = 82.0, 22.0, sheet.height - 90
    for index, cells in enumerate(text.COFFEE_TABLE):
        y = top - index * row
        sheet.rule(MARGIN, y - 6, MARGIN + column * len(cells), y - 6)
        for position, cell in enumerate(cells):
            font = "Helvetica-Bold" if index == 0 else "Helvetica"
            sheet.line(MARGIN + position * column + 4, y, cell, font, 10)
    bottom = top - len(text.COFFEE_TABLE) * row
    for position in range(len(text.COFFEE_TABLE[0]) + 1):
        x = MARGIN + position * column
        sheet.rule(x, top + 14, x, bottom + row - 6)
    sheet.paragraphs(text.COFFEE_NOTE, "Helvetica-Oblique", 9, (MARGIN, bottom, sheet.width - 2 * MARGIN))
    return sheet.finish("table.pdf")


def _large_type() -> KnownFile:
    sheet = _Sheet("In case of alarm", A4)
    sheet.line(MARGIN, sheet.height - 80, "In case of alarm", "Helvetica-Bold", 36)
    sheet.paragraphs(text.NOTICE, "Helvetica", 26, (MARGIN, sheet.height - 110, sheet.width - 2 * MARGIN))
    return sheet.finish("large_type.pdf")


def _multi_page() -> KnownFile:
    sheet = _Sheet("The light on Gull Rock", letter)
    for number, chapter in enumerate(text.LIGHTHOUSE_HISTORY, start=1):
        if number > 1:
            sheet.next_page()
        sheet.line(MARGIN, sheet.height - 60, f"The light on Gull Rock, part {number}", "Times-Bold", 15)
        box = (MARGIN, sheet.height - 80, sheet.width - 2 * MARGIN)
        sheet.paragraphs(chapter, "Times-Roman", 12, box)
        sheet.line(sheet.width / 2, 40, f"page {number}", "Times-Italic", 9)
    return sheet.finish("multi_page.pdf")


def _courier_log() -> KnownFile:
    sheet = _Sheet("Observing log", A5)
    sheet.line(36, sheet.height - 48, "OBSERVING LOG OF THE 60 CM TELESCOPE", "Courier-Bold", 10)
    sheet.paragraphs(text.TELESCOPE_LOG, "Courier", 7.5, (36, sheet.height - 60, sheet.width - 72))
    return sheet.finish("courier_log.pdf")


def _mixed_fonts() -> KnownFile:
    sheet = _Sheet("Rye bread", landscape(A4))
    width = sheet.width - 2 * MARGIN
    sheet.line(MARGIN, sheet.height - 60, text.BREAD_TITLE, "Helvetica-Bold", 20)
    y = sheet.paragraphs(text.BREAD_INTRO, "Times-Italic", 13, (MARGIN, sheet.height - 80, width))
    y = sheet.paragraphs(text.BREAD_STEPS, "Courier", 11, (MARGIN + 30, y, width))
    sheet.paragraphs(text.BREAD_END, "Times-Roman", 13, (MARGIN, y, width))
    return sheet.finish("mixed_fonts.pdf")


def _embedded_font() -> KnownFile:
    if EMBEDDED_FONT not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(TTFont(EMBEDDED_FONT, "Vera.ttf"))
    sheet = _Sheet("Travel notes", A4)
    sheet.line(MARGIN, sheet.height - 60, "Notes from a journey north", EMBEDDED_FONT, 17)
    box = (MARGIN, sheet.height - 84, sheet.width - 2 * MARGIN)
    sheet.paragraphs(text.TRAVEL_NOTES, EMBEDDED_FONT, 10.5, box)
    return sheet.finish("embedded_font.pdf")


_BUILDERS: Sequence[Callable[[], KnownFile]] = (
    _single_column,
    _two_columns,
    _table,
    _large_type,
    _multi_page,
    _courier_log,
    _mixed_fonts,
    _embedded_font,
)


def build() -> tuple[KnownFile, ...]:
    """Every known file, in a fixed order."""
    return tuple(builder() for builder in _BUILDERS)


def write(directory: Path) -> list[Path]:
    """Write each file as `<name>.pdf` with its known text as `<name>.txt` (pages separated by form feeds)."""
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for known in build():
        pdf = directory / known.name
        pdf.write_bytes(known.content)
        pdf.with_suffix(".txt").write_text("\f".join(known.pages), encoding="utf-8")
        written += [pdf, pdf.with_suffix(".txt")]
    return written
