"""When a predictive alert is raised, and how it ends.

An alert is raised once, when the probability reaches the confidence, and it ends once, a whole
prediction window later at the latest, so that each can be held against what came:

    raised ─▶ came_true       a sample breached within the window
           ─▶ withdrawn       a later prediction was below half of the confidence
           ─▶ not_come_true   the window is over, without a breach
           ─▶ no_data         the window is over, and no sample said anything about it
           ─▶ superseded      the alert's definition, or the model, was changed or removed

If the probability is still as high when the window is over, the next prediction raises another
alert. The window is over with a sample of the series after it, or once the partition's watermark
has passed it, whichever the log shows first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from services.monitor.domain.language.durations import format_duration
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.rules import labels_digest
from services.monitor.domain.prediction.alerts import PredictiveAlert

End = Literal["came_true", "not_come_true", "withdrawn", "no_data", "superseded"]
Kind = Literal["raised", "came_true", "not_come_true", "withdrawn", "no_data", "superseded"]

_LOWEST, _HIGHEST = 0.01, 0.99
WITHDRAWN_BELOW = 0.5
"""Of the confidence: between this and the confidence itself an alert stays as it is."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An alert that was raised at ``at`` for the time up to ``until`` (epoch seconds), when the metric
    had ``value``. It was made from ``samples`` samples of the series, which are between two offsets;
    of its ``answered`` earlier predictions in the same tenth of probabilities, ``came_true`` did.
    ``followed``: whether a sample came within the window."""

    at: float
    until: float
    probability: float
    value: float
    first_offset: int
    last_offset: int
    samples: int
    answered: int
    came_true: int
    followed: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of an alert: that it was raised, or how it ended, at ``at``, by the
    record ``offset``. ``value`` is the metric's then, None where time alone decided;
    ``probability`` the newest, None where it was not asked again."""

    kind: Kind
    at: float
    offset: int
    alert: PredictiveAlert
    of: Group
    raised: Raised
    value: float | None = None
    probability: float | None = None

    @property
    def prediction_id(self) -> str:
        """``prediction:<model>:<component>:<when it was raised>``, with a hash of further labels."""
        further = f"-{labels_digest(self.of)}" if self.of.labels else ""
        moment = _utc(self.raised.at).strftime("%Y%m%dT%H%M%S.%fZ")
        return f"prediction:{self.alert.model}:{self.of.component}{further}:{moment}"

    @property
    def order(self) -> tuple[int, float, str, Group, bool]:
        """What is told is sorted by: by the record that led to it."""
        return self.offset, self.at, self.alert.model, self.of, self.kind == "raised"

    @property
    def why(self) -> str:
        """The reason in words, for people."""
        alert, raised = self.alert, self.raised
        what = f"{alert.metric} of {self.of}"
        window = format_duration(alert.horizon)
        since = f"since {_utc(raised.at):%H:%M:%S} UTC"
        match self.kind:
            case "raised":
                return (
                    f"{what} is {raised.value:.6g} and will be {alert.breach} within {window} with a "
                    f"probability of {in_words(raised.probability)} ({alert.confidence:g} or more is told). "
                    f"{self._trust}"
                )
            case "came_true":
                return f"{what} is {self.value:.6g} ({alert.breach}), as was foreseen {since}"
            case "withdrawn":
                now, then = in_words(self.probability or 0.0), in_words(raised.probability)
                return (
                    f"{what} is {self.value:.6g}; that it will be {alert.breach} within {window} has only a "
                    f"probability of {now} now, {then} when it was raised"
                )
            case "not_come_true":
                return f"{what} was not {alert.breach} within {window}, as was foreseen {since}"
            case "no_data":
                return f"{what} had no samples for {window}: whether it was {alert.breach} is not known"
            case "superseded":
                return f"the definition of {alert.model}, or the model behind it, was changed or removed"

    @property
    def _trust(self) -> str:
        raised = self.raised
        if not raised.answered:
            return "No prediction of this series that said about as much has had its answer yet"
        low = min(int(raised.probability * 10), 9) / 10
        return (
            f"Of its predictions between {low:g} and {low + 0.1:.1f} so far, {raised.came_true} of "
            f"{raised.answered} came true"
        )


def in_words(probability: float) -> str:
    """A probability for people, to two places; never a certainty, which no prediction is."""
    if probability > _HIGHEST:
        return f"more than {_HIGHEST}"
    if probability < _LOWEST:
        return f"less than {_LOWEST}"
    return f"{probability:.2f}"


def end_at_sample(
    raised: Raised, alert: PredictiveAlert, time: float, *, breaching: bool, probability: float
) -> End | None:
    """How an alert ends with a sample at ``time`` and the prediction made there (nan: none)."""
    if time > raised.until:
        return end_of_window(raised)
    if breaching:
        return "came_true"
    # False for nan.
    return "withdrawn" if probability < WITHDRAWN_BELOW * alert.confidence else None


def end_of_window(raised: Raised) -> End:
    """How an alert ends that its window has passed by."""
    return "not_come_true" if raised.followed else "no_data"


def with_sample(raised: Raised) -> Raised:
    """After a sample within the window."""
    return raised if raised.followed else replace(raised, followed=True)


def _utc(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)
