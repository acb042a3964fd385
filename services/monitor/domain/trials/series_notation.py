"""A series of samples in a line: ``2000x10 3500x25 _x5 3000+50x4``.

    2000        one sample
    2000x10     ten samples of 2000
    _   _x5     one gap, five gaps: the interval passes without a sample
    3000+50x4   3000 3050 3100 3150 3200: the first value and four more, each 50 more than the last
    3000-50x4   3000 2950 2900 2850 2800

The steps are decimal: 0.95-0.01x5 ends at 0.9, not a rounding error below it. The last two forms
are Prometheus'. Its ``2000x10``, though, is eleven samples; here it is ten.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

MAX_SAMPLES = 1_000_000
_NUMBER = r"[-+]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_FORM = re.compile(rf"(?:(_)|({_NUMBER})(?:([-+])({_NUMBER}))?)(?:x(\d{{1,9}}))?")


def parse_series(text: str) -> list[float | None]:
    """The value at each interval, None for a gap; raises ValueError with what is wrong."""
    values: list[float | None] = []
    for item in text.split():
        match = _FORM.fullmatch(item)
        if match is None:
            raise ValueError(f"{item[:60]!r} is not a number, number x count, or _ x count")
        gap, first, sign, by, times = match.groups()
        if by is not None and times is None:
            raise ValueError(f"{item!r} does not say how often: {item}x4")
        count = 1 if times is None else int(times)
        if len(values) + count > MAX_SAMPLES:
            raise ValueError(f"more than {MAX_SAMPLES} samples")
        if gap:
            values += [None] * count
        elif by is None:
            values += [_finite(first, item)] * count
        else:
            _finite(first, item), _finite(by, item)
            begin, step = Decimal(first), Decimal(by) * (-1 if sign == "-" else 1)
            values += [_finite(str(begin + step * at), item) for at in range(count + 1)]
    if not values:
        raise ValueError("there is no value")
    return values


def _finite(text: str, item: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{item!r}: that is too large a number")
    return value
