from __future__ import annotations

import pytest

from cli.backtest_report import Complaints
from services.monitor.handlers.backtest import Backtested


@pytest.mark.parametrize(
    ("of_topic", "mend"), [(False, "--by-time"), (True, "BACKOUT_MONITOR__ALLOWED_LATENESS_S")]
)
def test_many_late_samples_are_told_with_what_can_be_done(
    capsys: pytest.CaptureFixture[str], of_topic: bool, mend: str
) -> None:
    Complaints("offset", of_topic=of_topic).summarize(Backtested([], samples=100, late=6))
    told = capsys.readouterr().err
    assert "100 samples, 6 late" in told
    assert mend in told
    Complaints("offset", of_topic=of_topic).summarize(Backtested([], samples=100, late=5))
    assert "Many samples are late" not in capsys.readouterr().err
