"""What the service knows about itself: observations of the last seconds, and the samples made of them.

A gauge that nothing was observed for is left out: no request is not a fast request. Every method takes the
time as a value (epoch seconds).
"""

import math
import resource
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.docrag.routing import COMPONENT

WINDOW_S = 6.0
QUERY_COMPONENT = "query_api"
BYTES_PER_MB = 1_000_000
_PAGE_BYTES = resource.getpagesize()
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class _Request:
    at: float
    seconds: float
    failed: bool


@dataclass(frozen=True)
class _Scored:
    at: float
    value: float


class Meter:
    """Observations within the window, and counters since the start."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._uploads: deque[_Request] = deque()
        self._queries: deque[_Request] = deque()
        self._page_times: deque[_Scored] = deque()
        self._accuracies: deque[_Scored] = deque()
        self._requests_total = 0
        self._errors_total = 0
        self._fallbacks_total = 0

    def upload(self, now: float, seconds: float, *, failed: bool) -> None:
        """An upload was answered. It failed if the service was at fault (5xx): a bad document is not."""
        self._uploads.append(_Request(now, seconds, failed))
        self._requests_total += 1
        self._errors_total += failed

    def fallback(self) -> None:
        """An upload took the breaker's fallback, or was rejected by it: no measurement of the component."""
        self._fallbacks_total += 1

    def query(self, now: float, seconds: float, *, failed: bool) -> None:
        """A query was answered."""
        self._queries.append(_Request(now, seconds, failed))

    def extraction(self, now: float, seconds_per_page: float) -> None:
        """A document was extracted, by an upload or a probe."""
        self._page_times.append(_Scored(now, seconds_per_page))

    def accuracy(self, now: float, value: float) -> None:
        """A known document was extracted with this accuracy; 0.0 if its extraction failed."""
        self._accuracies.append(_Scored(now, value))

    def batches(self, now: float, memory_mb: float) -> list[dict[str, Any]]:
        """One batch of samples a component, in the form of the public metrics contract."""
        self._forget(now - self._window_s)
        extraction = [
            *_gauge("response_time_p95_ms", [r.seconds * 1000 for r in self._uploads], p95),
            *_gauge("error_rate", [float(r.failed) for r in self._uploads], mean),
            *_gauge("extraction_seconds_per_page", [s.value for s in self._page_times], mean),
            *_gauge("accuracy_score", [s.value for s in self._accuracies], mean),
            ("throughput_req_per_sec", len(self._uploads) / self._window_s),
            ("requests_total", float(self._requests_total)),
            ("errors_total", float(self._errors_total)),
            *([("fallbacks_total", float(self._fallbacks_total))] if self._fallbacks_total else []),
            ("memory_mb", memory_mb),
        ]
        queries = [
            *_gauge("query_response_time_p95_ms", [r.seconds * 1000 for r in self._queries], p95),
            *_gauge("query_error_rate", [float(r.failed) for r in self._queries], mean),
            ("throughput_req_per_sec", len(self._queries) / self._window_s),
        ]
        return [_batch(COMPONENT, now, extraction), _batch(QUERY_COMPONENT, now, queries)]

    def _forget(self, before: float) -> None:
        for window in (self._uploads, self._queries):
            while window and window[0].at <= before:
                window.popleft()
        for scores in (self._page_times, self._accuracies):
            while scores and scores[0].at <= before:
                scores.popleft()


def p95(values: Sequence[float]) -> float:
    """The smallest value that at least 95 % of the values do not exceed (nearest rank)."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return math.fsum(values) / len(values)


def memory_mb() -> float:
    """Resident memory of this process in megabytes; where the system does not tell, the most it ever was."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES / BYTES_PER_MB
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / BYTES_PER_MB


def _gauge(
    metric: str, values: Sequence[float], fold: Callable[[Sequence[float]], float]
) -> list[tuple[str, float]]:
    return [(metric, fold(values))] if values else []


def _batch(component: str, now: float, samples: Sequence[tuple[str, float]]) -> dict[str, Any]:
    return {
        "component": component,
        "time": now,
        "samples": [{"metric": metric, "value": round(value, 6)} for metric, value in samples],
    }
