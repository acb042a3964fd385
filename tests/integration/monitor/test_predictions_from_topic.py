"""Predictions over the metrics topic are those over the same samples in a file."""

from __future__ import annotations

from services.monitor.adapters.config_directory import load_config
from services.monitor.adapters.topic_range import backtest_topic
from services.monitor.domain.language.conditions import Condition
from services.monitor.domain.prediction.alerts import PredictiveAlert
from services.monitor.handlers.prediction_backtest import PredictionBacktest, prediction_json
from tests.integration.monitor.stage import Stage, sample

ALERT = PredictiveAlert("slowness", "ms", Condition(">", 100.0), 60, 0.8)
COMPONENTS = ("api", "web", "search")


async def test_the_topic_gives_the_predictions_of_a_file(stage: Stage) -> None:
    records = [
        (component, sample("ms", component, 120.0 if second % 60 == 10 else 60.0, 1_700_000_000.0 + second))
        for second in range(0, 300, 5)
        for component in COMPONENTS
    ]
    await stage.publish(records)
    from_file = PredictionBacktest([ALERT], "all")
    for _, record in records:
        from_file.take(record)
    from_topic = PredictionBacktest([ALERT], "all")
    await backtest_topic(
        stage.kafka,
        load_config(stage.directory).rules,
        allowed_lateness=2.0,
        on_unread=lambda _place, _unread: None,
        portion=50,
        predicted=from_topic,
    )
    expected = [prediction_json(one) for one in from_file.found()]
    assert [prediction_json(one) for one in from_topic.found()] == expected
    assert {one["group"]["component"] for one in expected} == set(COMPONENTS)
