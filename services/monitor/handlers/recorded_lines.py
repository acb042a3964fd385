"""The records that a trigger is explained from, out of JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from schemas.metrics import Unread, epoch_seconds, read_record
from services.monitor.domain.engine.series import Series
from services.monitor.domain.explaining.recorded import Recorded, select
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.measuring.columns import NO_TIME, Columns, ReleaseRead


def recorded_lines(
    lines: Iterable[bytes],
    rule: Rule,
    component: str,
    fits: Callable[[Group], bool],
    *,
    nobody: Group,
    lateness: float,
    until: float | None = None,
    on_unread: Callable[[int, Unread], None] | None = None,
) -> Recorded:
    """The component's samples and releases, each appended at its own time, as in a backtest; of the
    first group that ``fits``, or of ``nobody``. Time passes until ``until`` (epoch seconds).
    ``on_unread`` is told of what cannot be read, with the number of its line."""
    known = Series([rule])
    offset: list[int] = []
    shown: list[float] = []
    record: list[int] = []
    series: list[int] = []
    time: list[float] = []
    value: list[float] = []
    releases: list[ReleaseRead] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        read = read_record(line.strip())
        if on_unread is not None:
            for unread in read.unread:
                on_unread(number, unread)
        samples = [sample for sample in read.samples if sample.component == component]
        if read.release is not None and read.release.component == component:
            at = epoch_seconds(read.release.time)
            releases.append(ReleaseRead(len(offset), component, at, read.release.version))
        elif not samples:
            continue
        times = [epoch_seconds(sample.time) for sample in samples]
        record += [len(offset)] * len(samples)
        offset.append(number)
        shown.append(max(times, default=NO_TIME))
        time += times
        value += [sample.value for sample in samples]
        series += [known.number_of(sample.metric, component, sample.labels) for sample in samples]
    if until is not None:
        offset.append(0)
        shown.append(until)
    columns = Columns(
        np.array(offset, dtype=np.int64),
        np.array(shown, dtype=np.float64),
        np.array(shown, dtype=np.float64),
        np.array(record, dtype=np.int64),
        np.array(series, dtype=np.int64),
        np.array(time, dtype=np.float64),
        np.array(value, dtype=np.float64),
        tuple(releases),
    )
    return select(columns, known, rule, fits, nobody=nobody, lateness=lateness)
