"""Metric samples: what other systems publish, one by one or in batches.

The reader is strict about what it would have to guess (a number as a text, a time without an
offset, NaN) and lenient about what it does not need (unknown fields). Samples are msgspec
structs because this is the one contract where the speed of reading decides.

A record of the metrics topic is one of

- a sample: ``{"metric", "component", "value", "time", "labels"?}``
- a batch: ``{"samples": [sample, …], "component"?, "time"?, "labels"?}``; what stands beside
  ``samples`` is the default of each of them
- a release: ``{"release": {"component", "time", "version"?}}``: from then on the component runs something
  else; whoever deploys publishes it (``backout release announce``, a CI pipeline)
- a clock record: ``{"clock": time}``, written by the monitor when a partition is silent

A time is RFC 3339 with an offset, or epoch seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import msgspec

from schemas.json_slices import fields_of, items_of

MAX_TIME = 253_402_300_799.0
"""The end of the year 9999, in epoch seconds: beyond it, the unit was not seconds."""

_TOO_LATE = f"<= {MAX_TIME}"

MAX_RECORD_BYTES = 4_000_000

Moment = Annotated[datetime, msgspec.Meta(tz=True)] | Annotated[float, msgspec.Meta(ge=0.0, le=MAX_TIME)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Labels = dict[str, str]

_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
# The schema tells the form; the decoder does not check it on the hot path, sample_problem does.
ComponentName = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=256, extra_json_schema={"pattern": f"^{_COMPONENT.pattern}$"}),
]
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Sample(msgspec.Struct, gc=False):
    """One measured value of one component at one time."""

    metric: Name
    component: ComponentName
    value: float
    time: Moment
    labels: Labels | None = None


class _BatchedSample(msgspec.Struct, gc=False, omit_defaults=True):
    metric: Name
    value: float
    component: ComponentName | None = None
    time: Moment | None = None
    labels: Labels | None = None


class Batch(msgspec.Struct, omit_defaults=True):
    """Many samples in one record, with their defaults."""

    samples: list[_BatchedSample]
    component: ComponentName | None = None
    time: Moment | None = None
    labels: Labels | None = None


class PlainItem(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A sample of a plain batch."""

    metric: Name
    value: float
    time: Moment | None = None


class PlainBatch(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The form that nearly every batch has: one component, and one set of labels, for all samples."""

    samples: list[PlainItem]
    component: ComponentName
    time: Moment | None = None
    labels: Labels | None = None


class ClockRecord(msgspec.Struct):
    """Time passed on a silent partition."""

    clock: Moment


class Release(msgspec.Struct, frozen=True, omit_defaults=True):
    """At ``time`` the component began to run something else, be it newer or older."""

    component: ComponentName
    time: Moment
    version: Name | None = None


class ReleaseRecord(msgspec.Struct):
    """A release of one component; the record's key is that component."""

    release: Release


decode_sample = msgspec.json.Decoder(Sample).decode
"""The hot path: bytes to Sample; raises msgspec.DecodeError and others, see ``read_record``."""

decode_batch = msgspec.json.Decoder(Batch).decode
"""Bytes to Batch; raises as ``decode_sample`` does."""
decode_plain_batch = msgspec.json.Decoder(PlainBatch).decode
"""The hot path of batches; refuses any other form, which ``read_record`` may well read."""

_decode_batched = msgspec.json.Decoder(_BatchedSample).decode
_decode_clock = msgspec.json.Decoder(ClockRecord).decode
_decode_release = msgspec.json.Decoder(ReleaseRecord).decode
_decode_default = {
    "component": msgspec.json.Decoder(ComponentName | None).decode,
    "time": msgspec.json.Decoder(Moment | None).decode,
    "labels": msgspec.json.Decoder(Labels | None).decode,
}


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a record, or the sample ``item`` (from 0) of a batch, cannot be read.

    ``reason`` is a short fixed word: ``empty``, ``too_large``, ``invalid_utf8``, ``invalid_json``,
    ``too_deep``, ``invalid_sample``, ``invalid_batch``, ``invalid_release``, ``invalid_time`` or
    ``future_time``.
    """

    reason: str
    error: str
    item: int | None = None


@dataclass(frozen=True, slots=True)
class BatchOrigin:
    """Which record of a foreign topic a batch was translated from, in the batch's headers.

    ``part`` (from 0) tells the batches of one origin's record apart: one a component, and more
    where they would be too large.
    """

    topic: str
    partition: int
    offset: int
    part: int

    def headers(self) -> list[tuple[str, bytes]]:
        """As Kafka headers: ``backout-origin-topic``, ``…-partition``, ``…-offset``, ``…-part``."""
        return [
            ("backout-origin-topic", self.topic.encode()),
            ("backout-origin-partition", b"%d" % self.partition),
            ("backout-origin-offset", b"%d" % self.offset),
            ("backout-origin-part", b"%d" % self.part),
        ]


@dataclass(frozen=True, slots=True)
class MetricsRecord:
    """What one record holds. ``items`` are the samples' indices within their batch, or None."""

    samples: tuple[Sample, ...] = ()
    items: tuple[int | None, ...] = ()
    unread: tuple[Unread, ...] = ()
    clock: float | None = None
    release: Release | None = None


def epoch_seconds(time: datetime | float) -> float:
    """A sample's time as epoch seconds."""
    return time.timestamp() if isinstance(time, datetime) else time


def sample_problem(sample: Sample) -> Unread | None:
    """What the types alone do not say: the form of the component's name, times before 1970."""
    return _problem(sample.component, sample.time, "invalid_sample")


def release_problem(release: Release) -> Unread | None:
    """As ``sample_problem``."""
    return _problem(release.component, release.time, "invalid_release")


def _problem(component: str, time: datetime | float, reason: str) -> Unread | None:
    if not _COMPONENT.fullmatch(component):
        return Unread(
            reason,
            f"component {component[:60]!r}: letters, digits, '_', '.' and '-' are allowed, "
            "up to 128, beginning with a letter or digit",
        )
    if not 0.0 <= epoch_seconds(time) <= MAX_TIME:
        return Unread("invalid_time", f"time {time}: outside the years 1970 to 9999")
    return None


def read_record(value: bytes | None) -> MetricsRecord:
    """Read whatever a record of the metrics topic holds. Raises nothing: what cannot be read
    is in ``unread``, and the readable samples of a mixed batch are in ``samples``."""
    if not value:
        return _unread("empty", "the record has no value" if value is None else "the value is empty")
    if len(value) > MAX_RECORD_BYTES:
        return _unread("too_large", f"{len(value)} bytes, more than {MAX_RECORD_BYTES}")
    try:
        sample = decode_sample(value)
    except _UNREADABLE as error:
        return _read_other(value, error)
    problem = sample_problem(sample)
    if problem is not None:
        return MetricsRecord(unread=(problem,))
    return MetricsRecord(samples=(sample,), items=(None,))


def _read_other(value: bytes, not_a_sample: Exception) -> MetricsRecord:
    """Read what is no sample: by its keys it may be a batch, a release or a clock record."""
    found = _Found()
    try:
        batch = decode_batch(value)
    except _UNREADABLE as error:
        not_a_batch = error
    else:
        for index, item in enumerate(batch.samples):
            _complete(item, index, batch, found)
        return found.record()
    fields = fields_of(value)
    if fields is None:
        return MetricsRecord(unread=(_why(not_a_sample, "invalid_sample"),))
    if "samples" in fields:
        items = items_of(fields["samples"])
        if items is None:
            return MetricsRecord(unread=(_why(not_a_batch, "invalid_batch"),))
        return _read_each(items, fields)
    if "release" in fields:
        return _read_release(value)
    if "clock" in fields:
        try:
            return MetricsRecord(clock=epoch_seconds(_decode_clock(value).clock))
        except _UNREADABLE as error:
            not_a_sample = error
    return MetricsRecord(unread=(_why(not_a_sample, "invalid_sample"),))


def _read_release(value: bytes) -> MetricsRecord:
    try:
        release = _decode_release(value).release
    except _UNREADABLE as error:
        return MetricsRecord(unread=(_why(error, "invalid_release"),))
    problem = release_problem(release)
    return MetricsRecord(unread=(problem,)) if problem else MetricsRecord(release=release)


def encode_release(release: Release) -> bytes:
    """The value of a release record."""
    return msgspec.json.encode(ReleaseRecord(release))


def encode_clock(time: float) -> bytes:
    """The value of a clock record; ``time`` in epoch seconds."""
    return msgspec.json.encode(ClockRecord(time))


def encode_batch(component: str, samples: Sequence[Sample]) -> bytes:
    """The value of a batch record; ``samples`` are all of ``component``."""
    batched = [_BatchedSample(each.metric, each.value, None, each.time, each.labels) for each in samples]
    return msgspec.json.encode(Batch(batched, component))


@dataclass(slots=True)
class _Found:
    samples: list[Sample] = field(default_factory=list)
    items: list[int | None] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def record(self) -> MetricsRecord:
        return MetricsRecord(tuple(self.samples), tuple(self.items), tuple(self.unread))


def _read_each(items: list[bytes], fields: dict[str, bytes]) -> MetricsRecord:
    """Read a batch of which something is unreadable: each sample, and each default, on its own."""
    found = _Found()
    defaults = Batch([])
    wrong: dict[str, Unread] = {}
    for name, decode in _decode_default.items():
        try:
            setattr(defaults, name, decode(fields.get(name, b"null")))
        except _UNREADABLE as error:
            why = _why(error, "invalid_time" if name == "time" else "invalid_batch")
            wrong[name] = Unread(why.reason, f"{why.error} - at `$.{name}` beside `samples`")
    for index, raw in enumerate(items):
        try:
            item = _decode_batched(raw)
        except _UNREADABLE as error:
            found.unread.append(_why(error, "invalid_sample", index))
            continue
        needed = [name for name in wrong if name == "labels" or getattr(item, name) is None]
        if needed:
            why = wrong[needed[0]]
            found.unread.append(Unread(why.reason, why.error, index))
        else:
            _complete(item, index, defaults, found)
    return found.record()


def _complete(item: _BatchedSample, index: int, defaults: Batch, found: _Found) -> None:
    """Fill in the batch's defaults; what is still missing, or wrong, makes the item unread."""
    component = item.component if item.component is not None else defaults.component
    time = item.time if item.time is not None else defaults.time
    if component is None or time is None:
        missing = "component" if component is None else "time"
        error = f"no `{missing}`, neither in the sample nor beside `samples`"
        found.unread.append(Unread("invalid_sample", error, index))
        return
    labels = defaults.labels
    if item.labels is not None:
        labels = {**labels, **item.labels} if labels else item.labels
    sample = Sample(item.metric, component, item.value, time, labels)
    problem = sample_problem(sample)
    if problem is None:
        found.samples.append(sample)
        found.items.append(index)
    else:
        found.unread.append(Unread(problem.reason, problem.error, index))


def _unread(reason: str, error: str) -> MetricsRecord:
    return MetricsRecord(unread=(Unread(reason, error),))


def _why(error: Exception, reason: str, item: int | None = None) -> Unread:
    if isinstance(error, UnicodeDecodeError):
        return Unread("invalid_utf8", f"not UTF-8: {error.reason} at byte {error.start} of a text", item)
    if isinstance(error, RecursionError):
        return Unread("too_deep", "nested too deeply", item)
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return Unread("invalid_json", text, item)
    is_time = text.endswith(("`$.time`", "`$.release.time`"))
    if is_time and _TOO_LATE in text:
        text = f"beyond the year 9999; is it in seconds? {text}"
    return Unread("invalid_time" if is_time else reason, text, item)
