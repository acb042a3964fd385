"""Parquet files and their columns, checked before they are read.

pyarrow reads them: an extra, because it is larger than all that the services need together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chassis.errors import ConfigError, UsageError

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def open_parquet(path: Path, **options: Any) -> Any:
    """The file; raises UsageError where it cannot be read or pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        raise UsageError(f"{path}: Parquet needs pyarrow: pip install 'backout[parquet]'")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, memory_map=True, **options)
    except (OSError, pa.ArrowException) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UsageError(f"cannot read {path}: {why.lower()}") from error


def require_columns(path: Path, schema: Any, needed: Sequence[str], texts: Iterable[str]) -> None:
    """Raises ConfigError for a column that is missing, or one of ``texts`` that holds none."""
    missing = [name for name in needed if name not in schema.names]
    if missing:
        *some, last = map("`{}`".format, needed)
        raise column_error(
            path,
            f"has no column {', '.join(map(repr, missing))}",
            f"Its columns are {', '.join(schema.names) or 'none'}; {', '.join(some)} and {last} are needed",
        )
    for name in texts:
        kind = schema.field(name).type
        if not is_text(kind):
            raise column_error(path, f"the column {name!r} is {kind}", "Write it as text")


def units_of_time(path: Path, schema: Any, *, assume_utc: bool) -> int:
    """The units a second of the column ``time``; 0 for a number of seconds. Raises ConfigError for
    any other kind, and for a timestamp without a time zone unless that is taken for UTC."""
    import pyarrow.types as kinds

    time = schema.field("time").type
    if is_number(time):
        return 0
    if not kinds.is_timestamp(time):
        mend = "Write epoch seconds as numbers, or a timestamp with a time zone"
        raise column_error(path, f"the column 'time' is {time}", mend)
    if time.tz is None and not assume_utc:
        mend = "Write it with one, as in timestamp('us', tz='UTC'), or say --assume-utc"
        raise column_error(path, "the column 'time' is a timestamp without a time zone", mend)
    return _UNITS[time.unit]


def seconds_of_time(column: Any, per_second: int) -> npt.NDArray[np.float64]:
    """The column's epoch seconds; ``per_second`` as ``units_of_time`` gives it. 0 for null."""
    import pyarrow.compute as pc

    if not per_second:
        numbers: npt.NDArray[np.float64] = pc.fill_null(column.cast("float64", safe=False), 0.0).to_numpy(
            zero_copy_only=False
        )
        return numbers
    # Whole seconds and the rest apart, so that a time on a second stays on it.
    units = pc.fill_null(column.cast("int64"), 0).to_numpy(zero_copy_only=False)
    whole, rest = np.divmod(units, per_second)
    seconds: npt.NDArray[np.float64] = whole.astype(np.float64) + rest / per_second
    return seconds


def column_error(path: Path, problem: str, mend: str) -> ConfigError:
    return ConfigError(problem, place=str(path), mend=mend)


def is_text(kind: Any) -> bool:
    import pyarrow.types as kinds

    inner = kind.value_type if kinds.is_dictionary(kind) else kind
    return bool(kinds.is_string(inner) or kinds.is_large_string(inner) or kinds.is_string_view(inner))


def is_number(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_floating(kind) or kinds.is_integer(kind) or kinds.is_decimal(kind))
