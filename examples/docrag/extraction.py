"""Text out of PDF files: the original implementation and the enhanced one.

*Original* is PDFium. *Enhanced* tries pypdf, pdfplumber and PyMuPDF in turn and takes the first that finds
text.

Extraction runs in worker threads so that the event loop stays responsive. PDFium and MuPDF keep global
state and are not thread-safe: each is entered by one thread at a time.
"""

import asyncio
import io
import logging
import threading
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pdfplumber
import pypdf
import pypdfium2
from pdfminer.pdfexceptions import PDFException
from pdfplumber.utils.exceptions import PdfminerException
from pypdf.errors import PyPdfError

from examples.docrag.chaos import ChaosSwitch
from examples.docrag.routing import EnhancedName, ExtractionConfiguration, OriginalConfiguration

PDF_MAGIC = b"%PDF-"
MAGIC_WITHIN = 1024
WORKERS = 32


class UnreadableDocument(Exception):
    """The document itself is at fault: no PDF, damaged, encrypted, too long or without any text."""


class ExtractionFailed(Exception):
    """The extractor is at fault: it failed on a document that it could not prove to be unreadable."""


class NoExtractor(Exception):
    """No extractor may be used at present: the routed implementation is switched off."""


@dataclass(frozen=True)
class Extraction:
    """Text by page, the library that found it, and the seconds that its worker took."""

    pages: tuple[str, ...]
    library: str
    seconds: float

    @property
    def text(self) -> str:
        """All pages."""
        return "\n".join(self.pages)

    @property
    def seconds_per_page(self) -> float:
        """Mean time a page took, in seconds."""
        return self.seconds / max(1, len(self.pages))


Plan = OriginalConfiguration | tuple[EnhancedName, ...]


def plan_for(config: ExtractionConfiguration) -> Plan:
    """What the configuration routes to. Raises NoExtractor if that is switched off."""
    if config.mode == "original":
        if config.extractors.original is None:
            raise NoExtractor("extraction is routed to the original extractor, which is not initialized")
        return config.extractors.original
    enabled = config.extractors.enhanced.enabled()
    if not enabled:
        raise NoExtractor("extraction is routed to the enhanced extractors, which are disabled")
    return enabled


class Extractors:
    """Runs extractions in worker threads. Close it to release waiting workers at once."""

    def __init__(self, chaos: ChaosSwitch) -> None:
        self._chaos = chaos
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="extraction")
        self._closing = threading.Event()
        self._pdfium = threading.Lock()
        self._mupdf = threading.Lock()
        logging.getLogger("pypdf").setLevel(logging.CRITICAL)
        logging.getLogger("pdfminer").setLevel(logging.CRITICAL)

    def release(self) -> None:
        """End every wait that a fault imposes, so that a shutdown need not sit it out."""
        self._closing.set()

    def close(self) -> None:
        """Stop the workers, dropping extractions that have not begun."""
        self.release()
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def extract(self, content: bytes, name: str, plan: Plan) -> Extraction:
        """Extract a document's text. Raises UnreadableDocument or ExtractionFailed."""
        if PDF_MAGIC not in content[:MAGIC_WITHIN]:
            raise UnreadableDocument(f"{name} is not a PDF: it does not begin with {PDF_MAGIC.decode()}")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, content, name, plan)

    def _run(self, content: bytes, name: str, plan: Plan) -> Extraction:
        started = time.perf_counter()
        if isinstance(plan, tuple):
            pages, library = self._enhanced(content, name, plan)
        else:
            pages, library = self._original(content, name, plan), plan.implementation
        if not any(page.strip() for page in pages):
            raise UnreadableDocument(f"{name} holds no text that could be extracted")
        return Extraction(tuple(pages), library, time.perf_counter() - started)

    def _original(self, content: bytes, name: str, config: OriginalConfiguration) -> list[str]:
        form, limit = config.settings.unicode_form, config.settings.max_pages
        with self._pdfium:
            try:
                pages = _with_pdfium(content, limit)
            except pypdfium2.PdfiumError as error:
                raise UnreadableDocument(f"{name} cannot be read as a PDF: {error}") from error
        return [unicodedata.normalize(form, page) for page in pages]

    def _enhanced(self, content: bytes, name: str, names: tuple[EnhancedName, ...]) -> tuple[list[str], str]:
        chaos = self._chaos.current
        self._closing.wait(chaos.enhanced_delay_s)
        unreadable: list[str] = []
        failed: list[str] = []
        for library in names:
            try:
                pages = self._with_library(library, content, name)
            except UnreadableDocument as error:
                unreadable.append(f"{library}: {error}")
                continue
            except Exception as error:  # noqa: BLE001 - a crash of one library is what the next one is for
                failed.append(f"{library}: {type(error).__name__}: {error}")
                continue
            if any(page.strip() for page in pages):
                return [chaos.degrade(unicodedata.normalize("NFC", page)) for page in pages], library
            unreadable.append(f"{library}: no text")
        if failed:
            raise ExtractionFailed(f"every enhanced extractor failed on {name}: " + "; ".join(failed))
        raise UnreadableDocument(f"{name} cannot be read as a PDF: " + "; ".join(unreadable))

    def _with_library(self, library: EnhancedName, content: bytes, name: str) -> list[str]:
        if self._chaos.current.fails(name):
            raise ExtractionFailed("fault injected for files of this name")
        if library == "pymupdf":
            with self._mupdf:
                return _READERS[library](content)
        return _READERS[library](content)


def _with_pdfium(content: bytes, max_pages: int) -> list[str]:
    document = pypdfium2.PdfDocument(content)
    try:
        if len(document) > max_pages:
            raise UnreadableDocument(f"{len(document)} pages are more than the limit of {max_pages}")
        texts: list[str] = []
        for page in document:
            text = page.get_textpage()
            texts.append(str(text.get_text_bounded()).replace("\r\n", "\n"))
            text.close()
            page.close()
        return texts
    finally:
        document.close()


def _with_pypdf(content: bytes) -> list[str]:
    try:
        return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages]
    except PyPdfError as error:
        raise UnreadableDocument(str(error)) from error


def _with_pdfplumber(content: bytes) -> list[str]:
    try:
        with pdfplumber.open(io.BytesIO(content)) as document:
            return [page.extract_text(use_text_flow=True) for page in document.pages]
    except (PdfminerException, PDFException) as error:
        raise UnreadableDocument(str(error)) from error


def _with_pymupdf(content: bytes) -> list[str]:
    # Loaded where it is used: it is big, comes last in turn, and its licence is not everybody's.
    import pymupdf

    pymupdf.TOOLS.mupdf_display_errors(False)  # type: ignore[no-untyped-call]
    pymupdf.TOOLS.mupdf_display_warnings(False)  # type: ignore[no-untyped-call]
    try:
        with pymupdf.open(stream=content, filetype="pdf") as document:  # type: ignore[no-untyped-call]
            if document.needs_pass:
                raise UnreadableDocument("encrypted")
            return [str(page.get_text("text")) for page in document]
    except pymupdf.FileDataError as error:
        raise UnreadableDocument(str(error)) from error


_READERS: dict[EnhancedName, Callable[[bytes], list[str]]] = {
    "pypdf": _with_pypdf,
    "pdfplumber": _with_pdfplumber,
    "pymupdf": _with_pymupdf,
}
