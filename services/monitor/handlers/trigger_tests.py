"""Runs tests of triggers: their samples, as JSON lines, go the way of every backtest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from schemas.metrics import Release, ReleaseRecord, Sample, Unread, epoch_seconds
from services.monitor.domain.language.rules import Rule
from services.monitor.domain.trials.trigger_tests import START, Failure, TriggerTest, judge
from services.monitor.handlers.backtest import backtest_lines


@dataclass(frozen=True, slots=True)
class Judged:
    """A test, and everything that was not as expected."""

    test: TriggerTest
    failures: list[Failure]

    @property
    def passed(self) -> bool:
        return not self.failures


def run_test(test: TriggerTest, rules: Sequence[Rule]) -> Judged:
    """Run the engine over the test's samples; each second is evaluated as soon as it has passed."""
    found = backtest_lines(
        rules, _lines(test), allowed_lateness=0.0, until=float(START + test.until), on_unread=_unread
    )
    return Judged(test, judge(test, rules, found.outcomes))


def _lines(test: TriggerTest) -> Iterator[bytes]:
    releases = [
        Release(each.component, float(START + each.at), each.version)
        for each in sorted(test.releases, key=lambda each: each.at)
    ]
    for time, series, value in test.samples():
        while releases and epoch_seconds(releases[0].time) <= time:
            yield msgspec.json.encode(ReleaseRecord(releases.pop(0)))
        yield msgspec.json.encode(Sample(series.metric, series.component, value, float(time), series.labels))
    for release in releases:
        yield msgspec.json.encode(ReleaseRecord(release))


def _unread(line: int | str, unread: Unread) -> None:
    raise ValueError(f"sample {line} of the test: {unread.reason}: {unread.error}")
