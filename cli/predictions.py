"""``backout triggers backtest --predictions``: what the predictive alerts would have said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from heapq import merge
from pathlib import Path
from typing import Any

from services.monitor.adapters.prediction_runs import RunsOnDisk
from services.monitor.adapters.predictive_files import (
    has_predictive_alerts,
    load_predictive_alerts,
    predictive_files,
)
from services.monitor.handlers.prediction_backtest import PredictionBacktest, Which, prediction_json


class Wanted(StrEnum):
    """Which predictions are written."""

    ALERTS = "alerts"
    ALL = "all"


HELP = (
    "Write predictions, too: those at or above their confidence, or all. Without it: alerts, if a file "
    "of --rules has predictive alerts. Otherwise they are those of the configuration directory."
)


def open_predictions(
    config_dir: Path, rule_files: Sequence[Path], wanted: Wanted | None
) -> PredictionBacktest | None:
    """The predictions to make, or None where none are asked for. Raises ConfigErrors."""
    if wanted is None and not any(path.exists() and has_predictive_alerts(path) for path in rule_files):
        return None
    alerts = load_predictive_alerts(predictive_files(config_dir, rule_files))
    which: Which = "all" if wanted is Wanted.ALL else "alerts"
    return PredictionBacktest(alerts, which, RunsOnDisk())


def with_predictions(
    transitions: Iterable[tuple[float, dict[str, Any]]], predictions: PredictionBacktest | None
) -> Iterator[dict[str, Any]]:
    """Transitions, given by time, and what was predicted, in order of time."""
    found = predictions.found() if predictions is not None else iter(())
    told = ((one.at, prediction_json(one)) for one in found)
    return (shown for _, shown in merge(transitions, told, key=lambda item: item[0]))
