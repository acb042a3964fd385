"""Proof that an implementation works: every known file extracted, accuracy and time a page measured."""

from collections.abc import Sequence
from typing import Any

from examples.docrag.accuracy import accuracy
from examples.docrag.corpus import KnownFile
from examples.docrag.extraction import ExtractionFailed, Extractors, Plan, UnreadableDocument
from examples.docrag.measure import mean

SUITE = "pdf_extraction"
MIN_ACCURACY = 0.95
MAX_SECONDS_PER_PAGE = 1.0


async def validate(extractors: Extractors, plan: Plan, files: Sequence[KnownFile]) -> dict[str, Any]:
    """Extract every file and judge the result.

    It passed if every file's accuracy is at least 0.95 and no file took more than 1 s a page. A file that
    could not be extracted counts with accuracy 0 and names its error.
    """
    details = [await _one(extractors, plan, known) for known in files]
    accuracies = [float(detail["accuracy"]) for detail in details]
    paces = [float(detail["seconds_per_page"]) for detail in details if "error" not in detail]
    pace = {"mean": round(mean(paces), 6), "max": max(paces)} if paces else {"mean": None, "max": None}
    return {
        "suite": SUITE,
        "implementation": "enhanced" if isinstance(plan, tuple) else "original",
        "files": len(details),
        "passed": all(detail["passed"] for detail in details),
        "accuracy": round(mean(accuracies), 6),
        "accuracy_min": min(accuracies),
        "accuracy_mean": round(mean(accuracies), 6),
        "seconds_per_page": pace,
        "limits": {"accuracy": MIN_ACCURACY, "seconds_per_page": MAX_SECONDS_PER_PAGE},
        "details": details,
    }


async def _one(extractors: Extractors, plan: Plan, known: KnownFile) -> dict[str, Any]:
    detail: dict[str, Any] = {"file": known.name, "pages": len(known.pages)}
    try:
        extraction = await extractors.extract(known.content, known.name, plan)
    except (ExtractionFailed, UnreadableDocument) as error:
        return {**detail, "passed": False, "accuracy": 0.0, "error": str(error)}
    score, pace = accuracy(known.text, extraction.text), extraction.seconds_per_page
    return {
        **detail,
        "library": extraction.library,
        "passed": score >= MIN_ACCURACY and pace <= MAX_SECONDS_PER_PAGE,
        "accuracy": round(score, 6),
        "seconds_per_page": round(pace, 6),
    }
