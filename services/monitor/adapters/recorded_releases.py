"""Releases of a file of their own, for samples that were recorded without them.

JSON lines: each as on the topic, ``{"release": {"component", "time", "version"?}}``, or that object alone.
Parquet, one row a release:

    component  text
    time       epoch seconds (a number), or a timestamp with a time zone of any unit
    version    text; may be missing, as a column or in a row
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schemas.json_slices import fields_of
from schemas.metrics import Release, Unread, read_record, release_problem
from services.monitor.adapters.parquet_columns import (
    column_error,
    is_text,
    open_parquet,
    require_columns,
    seconds_of_time,
    units_of_time,
)
from services.monitor.adapters.whole_files import all_of, numbered_lines

_LONGEST = 256
_OF_SAMPLES = {"metric", "samples"}
_MEND = (
    'Write {"component": "api", "time": "2026-01-01T00:00:00Z", "version": "2.1"}; `version` may be left out'
)
Read = Release | Unread


def releases_of_lines(path: Path) -> list[Release]:
    """The releases of a file of JSON lines. Raises UsageError where it cannot be read, ConfigErrors with
    the lines that hold none."""
    return all_of(path, ((number, _of_line(line)) for number, line in numbered_lines(path)), _MEND)


def releases_of_parquet(path: Path, *, assume_utc: bool = False) -> list[Release]:
    """The releases of a Parquet file. Raises UsageError where it cannot be read, ConfigError for a column
    that is missing or of another kind, ConfigErrors with the rows that hold no release."""
    file = open_parquet(path)
    schema = file.schema_arrow
    require_columns(path, schema, ("component", "time"), texts=("component",))
    if "metric" in schema.names:
        raise column_error(path, "holds samples and no releases", "Name it with --input")
    names = ["component", "time"]
    if "version" in schema.names:
        if not is_text(schema.field("version").type):
            kind = schema.field("version").type
            raise column_error(path, f"the column 'version' is {kind}", "Write it as text")
        names.append("version")
    per_second = units_of_time(path, schema, assume_utc=assume_utc)
    return all_of(path, enumerate(_rows(file.read(columns=names), per_second), start=1), _MEND)


def _of_line(line: bytes) -> Read:
    fields = fields_of(line)
    if fields is None:
        return Unread("invalid_release", "no JSON object")
    if fields.keys() & _OF_SAMPLES:
        return Unread("invalid_release", "samples and no release")
    record = read_record(line if "release" in fields else b'{"release": ' + line + b"}")
    return record.release or record.unread[0]


def _rows(table: Any, per_second: int) -> Iterator[Read]:
    times = seconds_of_time(table.column("time"), per_second).tolist()
    components = table.column("component").to_pylist()
    known = table.column("time").is_valid().to_pylist()
    versions = table.column("version").to_pylist() if "version" in table.column_names else [None] * len(times)
    for component, time, has_time, version in zip(components, times, known, versions, strict=True):
        if component is None or not has_time:
            yield Unread("invalid_release", f"no `{'time' if component else 'component'}`")
            continue
        if version is not None and len(version) > _LONGEST:
            yield Unread("invalid_release", f"`version` has more than {_LONGEST} characters")
            continue
        release = Release(component, time, version or None)
        yield release_problem(release) or release
