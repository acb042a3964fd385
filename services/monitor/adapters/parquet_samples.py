"""Samples of a Parquet file, as tables for a backtest.

    metric     text
    component  text
    value      a number
    time       epoch seconds (a number), or a timestamp with a time zone of any unit
    labels     a map from text to text, or a struct of texts; needed only by triggers that read some

Other columns are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.metrics import MAX_TIME, Sample, Unread, sample_problem
from services.monitor.adapters.parquet_columns import (
    column_error,
    is_number,
    is_text,
    open_parquet,
    require_columns,
    seconds_of_time,
    units_of_time,
)
from services.monitor.handlers.backtest import OnUnread, SampleTable

ROWS_AT_ONCE = 2_000_000
_NEEDED = ("metric", "component", "value", "time")
_LABELS = "labels"
_MAX_NAME = 256

Ints = npt.NDArray[np.int64]


class ParquetSamples:
    """One file; ``rows`` is how many there are, ``labels`` those that are read.

    ``assume_utc`` takes a timestamp without a time zone for UTC; otherwise it is refused. Raises
    UsageError where the file cannot be read or pyarrow is not installed, ConfigError for a
    column that is missing or of another kind.
    """

    def __init__(self, path: Path, *, assume_utc: bool = False, labels: Collection[str] = ()) -> None:
        self._path = path
        texts = ("metric", "component")
        require_columns(path, open_parquet(path).schema_arrow, _NEEDED, texts=texts)
        self._file = open_parquet(path, read_dictionary=list(texts))
        self.rows: int = self._file.metadata.num_rows
        schema = self._file.schema_arrow
        if not is_number(schema.field("value").type):
            kind = schema.field("value").type
            raise column_error(path, f"the column 'value' is {kind}", "Write it as numbers")
        self._per_second = units_of_time(path, schema, assume_utc=assume_utc)
        self._names = {"metric": _Names(_is_metric), "component": _Names(_is_component)}
        self._labels = {name: _Names(lambda _: True) for name in sorted(labels)}
        if labels:
            self._check_labels(schema)

    def tables(self, on_unread: OnUnread, *, by_time: bool = False) -> Iterator[SampleTable]:
        """The rows in the order of the file (``by_time``: of their times, all held in memory), in
        portions. Rows that are no samples are told to ``on_unread`` and left out."""
        tables = self._in_order(on_unread)
        return _by_time(list(tables)) if by_time else _together(tables)

    def _in_order(self, on_unread: OnUnread) -> Iterator[SampleTable]:
        row = 1
        columns = [*_NEEDED, _LABELS] if self._labels else list(_NEEDED)
        for batch in self._file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
            yield self._table(batch, row, on_unread)
            row += batch.num_rows

    def _check_labels(self, schema: Any) -> None:
        import pyarrow.types as kinds

        wanted = f"triggers or predictions read {', '.join(self._labels)}"
        if _LABELS not in schema.names:
            mend = "Leave these out, or write the labels"
            raise column_error(self._path, f"has no column {_LABELS!r}, and {wanted}", mend)
        kind = schema.field(_LABELS).type
        texts = kinds.is_map(kind) and is_text(kind.key_type) and is_text(kind.item_type)
        if kinds.is_struct(kind):
            texts = all(is_text(field.type) for field in kind if field.name in self._labels)
        if not texts:
            mend = "Write a map from text to text, or a struct of texts"
            raise column_error(self._path, f"the column {_LABELS!r} is {kind}, and {wanted}", mend)

    def _label_codes(self, column: Any) -> dict[str, Ints]:
        """The number of each row's value, by label; a row without the label has the empty text."""
        import pyarrow as pa
        import pyarrow.compute as pc

        codes = {}
        for name, names in self._labels.items():
            if pa.types.is_map(column.type):
                texts = pc.map_lookup(column, pa.scalar(name, column.type.key_type), "first")
            elif column.type.get_field_index(name) >= 0:
                texts = pc.struct_field(column, name)
            else:
                texts = pa.nulls(len(column), pa.string())
            codes[name] = names.codes(texts)
        return codes

    def _table(self, batch: Any, row: int, on_unread: OnUnread) -> SampleTable:
        import pyarrow.compute as pc

        columns = {name: batch.column(name) for name in _NEEDED}
        present = np.ones(batch.num_rows, dtype=np.bool_)
        for name, column in columns.items():
            if column.null_count:
                valid = column.is_valid().to_numpy(zero_copy_only=False)
                for at in np.flatnonzero(present & ~valid).tolist():
                    on_unread(row + at, Unread("invalid_sample", f"no `{name}`"))
                present &= valid
        seconds = seconds_of_time(columns["time"], self._per_second)
        value = columns["value"].cast("float64", safe=False)
        values = pc.fill_null(value, 0.0).to_numpy(zero_copy_only=False)
        metric = self._names["metric"].codes(columns["metric"])
        component = self._names["component"].codes(columns["component"])
        labels = self._label_codes(batch.column(_LABELS)) if self._labels else {}
        good = present & self._told(row, seconds, values, metric, component, present, on_unread)
        rows = np.arange(row, row + batch.num_rows)
        if not good.all():
            rows, metric, component = rows[good], metric[good], component[good]
            seconds, values = seconds[good], values[good]
            labels = {name: codes[good] for name, codes in labels.items()}
        names = self._names
        return SampleTable(
            rows,
            names["metric"].known,
            metric,
            names["component"].known,
            component,
            seconds,
            values,
            {name: (self._labels[name].known, codes) for name, codes in labels.items()},
        )

    def _told(
        self,
        row: int,
        time: npt.NDArray[np.float64],
        value: npt.NDArray[np.float64],
        metric: Ints,
        component: Ints,
        present: npt.NDArray[np.bool_],
        on_unread: OnUnread,
    ) -> npt.NDArray[np.bool_]:
        """Which rows are samples; the others are told."""
        metrics, components = self._names["metric"], self._names["component"]
        for names in (metrics, components):
            names.check()
        with np.errstate(invalid="ignore"):
            in_time = (time >= 0.0) & (time <= MAX_TIME)
        good = np.isfinite(value) & in_time & metrics.good[metric] & components.good[component]
        for at in np.flatnonzero(present & ~good).tolist():
            if not in_time[at]:
                words = f"time {time[at]:.17g}: outside the years 1970 to 9999; is it in seconds?"
                on_unread(row + at, Unread("invalid_time", words))
            elif not np.isfinite(value[at]):
                on_unread(row + at, Unread("invalid_sample", f"value {value[at]}: no finite number"))
            else:
                words = f"metric {metrics.known[metric[at]][:60]!r} or component "
                words += f"{components.known[component[at]][:60]!r} is not a good name"
                on_unread(row + at, Unread("invalid_sample", words))
        return good


class _Names:
    """Texts by number: each batch numbers them in its own way."""

    def __init__(self, is_good: Callable[[str], bool]) -> None:
        self._is_good = is_good
        self.known: list[str] = [""]
        self.good: npt.NDArray[np.bool_] = np.zeros(1, dtype=np.bool_)
        self._codes: dict[str, int] = {"": 0}

    def codes(self, column: Any) -> Ints:
        """The numbers of a dictionary column; 0 for null."""
        import pyarrow.compute as pc

        if not hasattr(column, "dictionary"):
            column = column.dictionary_encode()
        known = self._codes
        table = np.array(
            [known.setdefault(text or "", len(known)) for text in column.dictionary.to_pylist()] or [0],
            dtype=np.int64,
        )
        self.known += list(known)[len(self.known) :]
        indices = column.indices
        if column.null_count:
            codes: Ints = table[pc.fill_null(indices, 0).to_numpy(zero_copy_only=False)]
            codes[~column.is_valid().to_numpy(zero_copy_only=False)] = 0
            return codes
        coded: Ints = table[indices.to_numpy(zero_copy_only=False)]
        return coded

    def check(self) -> None:
        """Bring ``good`` up to date."""
        more = [self._is_good(text) for text in self.known[len(self.good) :]]
        if more:
            self.good = np.concatenate([self.good, np.array(more, dtype=np.bool_)])


def _is_metric(text: str) -> bool:
    return 0 < len(text) <= _MAX_NAME


def _is_component(text: str) -> bool:
    return sample_problem(Sample("m", text, 0.0, 0.0)) is None


def _together(tables: Iterable[SampleTable]) -> Iterator[SampleTable]:
    """Larger portions: a row group may be small, and each portion has a cost of its own."""
    waiting: list[SampleTable] = []
    for table in tables:
        waiting.append(table)
        if sum(len(each.row) for each in waiting) >= ROWS_AT_ONCE:
            yield _one(waiting)
            waiting = []
    if waiting:
        yield _one(waiting)


def _by_time(tables: Sequence[SampleTable]) -> Iterator[SampleTable]:
    if not tables:
        return
    whole = _one(tables)
    order = np.argsort(whole.time, kind="stable")
    for begin in range(0, len(order), ROWS_AT_ONCE):
        part = order[begin : begin + ROWS_AT_ONCE]
        yield SampleTable(
            whole.row[part],
            whole.metrics,
            whole.metric[part],
            whole.components,
            whole.component[part],
            whole.time[part],
            whole.value[part],
            {name: (known, codes[part]) for name, (known, codes) in whole.labels.items()},
        )


def _one(tables: Sequence[SampleTable]) -> SampleTable:
    """Several tables of one file as one: they share their names."""
    last = tables[-1]
    if len(tables) == 1:
        return last
    return SampleTable(
        np.concatenate([table.row for table in tables]),
        last.metrics,
        np.concatenate([table.metric for table in tables]),
        last.components,
        np.concatenate([table.component for table in tables]),
        np.concatenate([table.time for table in tables]),
        np.concatenate([table.value for table in tables]),
        {
            name: (known, np.concatenate([table.labels[name][1] for table in tables]))
            for name, (known, _) in last.labels.items()
        },
    )
