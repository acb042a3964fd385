"""The trace contexts that metric records carry, for as long as a trigger may still refer to them.

A producer may give a record the header ``traceparent`` (W3C Trace Context). A trigger names the
offsets of the samples that decided; so what is kept is the context of each recent record by its
offset. An offset that was read before a restart has none: a trace helps to look, and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol

from services.monitor.domain.engine.outcomes import Evidence

HEADER = "traceparent"
MAX_KEPT = 50_000
# Version 00, and later ones, of which the first four fields are to be read as those of 00.
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_SAMPLED = 1


class RecordWithHeaders(Protocol):
    """A record of the metrics topic with its headers."""

    @property
    def offset(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def traceparent_of(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """The context in these headers, as of version 00; None if there is none, or one that is not of the
    standard's form."""
    for name, value in headers:
        if name == HEADER:
            text = value.decode("ascii", errors="replace")
            if not _FORM.fullmatch(text) or (text[:2] == "00" and len(text) != 55):
                return None
            return text if text[:2] == "00" else f"00{text[2:53]}{int(text[53:55], 16) & _SAMPLED:02x}"
    return None


class Traces:
    """The contexts of the last ``kept`` records of one partition that had one."""

    def __init__(self, kept: int = MAX_KEPT) -> None:
        self._kept = kept
        self._contexts: dict[int, str] = {}

    def note(self, records: Iterable[RecordWithHeaders]) -> None:
        """Remember the contexts of these records, the next ones of the partition."""
        for record in records:
            if record.headers and (context := traceparent_of(record.headers)) is not None:
                self._contexts[record.offset] = context
        for offset in list(islice(self._contexts, max(0, len(self._contexts) - self._kept))):
            del self._contexts[offset]

    def of(self, evidence: Evidence | None) -> tuple[str, ...]:
        """The contexts of the records that decided, the last of them first, each once."""
        if evidence is None:
            return ()
        offsets = dict.fromkeys((evidence.last_offset, evidence.first_offset))
        return tuple(dict.fromkeys(self._contexts[each] for each in offsets if each in self._contexts))
