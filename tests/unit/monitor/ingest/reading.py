"""One request, read by a translator of its own."""

from __future__ import annotations

from services.monitor.domain.ingest.names import Names
from services.monitor.domain.ingest.otlp import OtlpTerms, OtlpTranslator
from services.monitor.domain.ingest.otlp_encodings import decode_protobuf
from services.monitor.domain.ingest.translation import Translated


def translate(value: bytes | None, terms: OtlpTerms | None = None, names: Names | None = None) -> Translated:
    return OtlpTranslator(decode_protobuf, terms or OtlpTerms(), names or Names()).translate(value)


def values(translated: Translated) -> dict[str, float]:
    return {sample.metric: sample.value for sample in translated.samples}
