"""The JSON that Telefónica's prometheus-kafka-adapter writes: one sample of Prometheus a record.

    {"timestamp": "1970-01-01T00:00:00Z", "value": "456", "name": "foo",
     "labels": {"__name__": "foo", "job": "checkout"}}

The value is a text (``NaN`` and ``+Inf`` are no JSON numbers); times have whole seconds. A series
that has ended is marked by Prometheus with a NaN of its own, which the adapter writes as ``NaN``.
See its README and serializers.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec

from schemas.metrics import Unread
from services.monitor.domain.ingest.names import Names
from services.monitor.domain.ingest.translation import NOT_LISTED, Components, Gathering, Translated

_NAME_LABEL = "__name__"


class _Written(msgspec.Struct):
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    value: str | float
    labels: dict[str, str] = {}
    name: str | None = None


_decode = msgspec.json.Decoder(_Written).decode


@dataclass(frozen=True, slots=True)
class PrometheusTerms:
    """``component_label`` names the component (in Prometheus usually ``job``)."""

    component_label: str = "job"
    default_component: str | None = None


class PrometheusTranslator:
    """Remembers nothing: each record is a sample."""

    look_back = 0

    def __init__(self, terms: PrometheusTerms, names: Names) -> None:
        self._label = terms.component_label
        self._names = names
        self._components = Components(names, terms.default_component, f"label {self._label!r}")

    def resumes_at(self, time: float) -> None:
        """Nothing that came before matters."""

    def translate(self, value: bytes | None) -> Translated:
        """``reason`` of what cannot be read: ``empty``, ``invalid_json``, ``invalid_utf8``,
        ``invalid_sample``, ``invalid_value``, ``invalid_time``, ``invalid_name``, ``no_component``
        or ``invalid_component``."""
        if not value:
            return _refused("empty", "the record has no value")
        try:
            written = _decode(value)
        except msgspec.ValidationError as error:
            return _refused("invalid_sample", str(error))
        except UnicodeDecodeError as error:
            return _refused("invalid_utf8", f"not UTF-8: {error.reason} at byte {error.start} of a text")
        except (msgspec.DecodeError, RecursionError) as error:
            return _refused("invalid_json", str(error))
        try:
            number = _number(written.value)
        except ValueError:
            return _refused("invalid_value", f"{str(written.value)[:60]!r} is no number")
        return self._sample(written, number)

    def _sample(self, written: _Written, number: float) -> Translated:
        origin = written.name or written.labels.get(_NAME_LABEL, "")
        renaming = self._names.renaming(origin)
        gathering = Gathering()
        component = self._components.of(written.labels.get(self._label))
        if renaming is None:
            gathering.pass_over(NOT_LISTED)
        elif isinstance(component, Unread):
            return _refused(component.reason, f"{origin}: {component.error}")
        else:
            labels = {
                name: text for name, text in written.labels.items() if name not in (_NAME_LABEL, self._label)
            }
            time = written.timestamp.timestamp()
            gathering.add(renaming.name(origin, None), component, number * renaming.factor, time, labels)
        return gathering.translated()


def _number(written: str | float) -> float:
    """Raises ValueError, also for what only Python takes for a number: ``1_0``, digits of other scripts."""
    if isinstance(written, str) and ("_" in written or not written.isascii()):
        raise ValueError
    return float(written)


def _refused(reason: str, error: str) -> Translated:
    return Translated(unread=(Unread(reason, error),))
