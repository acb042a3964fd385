"""The records of prometheus-kafka-adapter: as its README and its own tests show them."""

from __future__ import annotations

import json

import pytest

from services.monitor.domain.ingest.names import Names, Renaming
from services.monitor.domain.ingest.prometheus import PrometheusTerms, PrometheusTranslator
from services.monitor.domain.ingest.translation import Translated


def _record(**changed: object) -> bytes:
    fields = {
        "value": "456",
        "timestamp": "2026-01-01T00:00:10Z",
        "name": "foo",
        "labels": {"__name__": "foo", "job": "checkout", "instance": "10.0.0.1:9090"},
    }
    return json.dumps({**fields, **changed}).encode()


def _translate(value: bytes | None, terms: PrometheusTerms | None = None, **names: object) -> Translated:
    translator = PrometheusTranslator(terms or PrometheusTerms(), Names(**names))  # type: ignore[arg-type]
    return translator.translate(value)


def test_a_sample() -> None:
    (sample,) = _translate(_record()).samples
    assert (sample.metric, sample.component, sample.value) == ("foo", "checkout", 456.0)
    assert sample.time == 1767225610.0
    assert sample.labels == {"instance": "10.0.0.1:9090"}


@pytest.mark.parametrize(
    ("value", "reason"), [("NaN", "not_a_number"), ("+Inf", "infinite"), ("-Inf", "infinite")]
)
def test_a_stale_series_and_infinity_are_passed_over(value: str, reason: str) -> None:
    assert _translate(_record(value=value)) == Translated(passed_over={reason: 1})


def test_fields_of_later_versions_are_ignored_and_a_small_value_is_exact() -> None:
    (sample,) = _translate(_record(value="0.000000123", type="counter", help="")).samples
    assert sample.value == 1.23e-7


def test_the_name_falls_back_to_the_label() -> None:
    (sample,) = _translate(_record(name=None)).samples
    assert sample.metric == "foo"


def test_another_label_a_default_and_a_mapping() -> None:
    terms = PrometheusTerms(component_label="component", default_component="others")
    (sample,) = _translate(_record(), terms).samples
    assert sample.component == "others"
    (sample,) = _translate(
        _record(labels={"job": "shop/checkout"}),
        metrics={"foo": Renaming("bar_{stat}", 1000.0)},
        components={"shop/checkout": "checkout"},
    ).samples
    assert (sample.metric, sample.component, sample.value) == ("bar_value", "checkout", 456_000.0)
    assert _translate(_record(), keep_others=False) == Translated(passed_over={"not_listed": 1})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"up 1", "invalid_json"),
        (b'{"value":"\xff"}', "invalid_utf8"),
        (_record(value="many"), "invalid_value"),
        (_record(value="1_0"), "invalid_value"),
        (_record(value="١٠"), "invalid_value"),
        (_record(value=None), "invalid_sample"),
        (_record(timestamp="yesterday"), "invalid_sample"),
        (_record(timestamp="2026-01-01T00:00:10"), "invalid_sample"),
        (_record(timestamp="1970-01-01T00:00:00Z"), "invalid_time"),
        (_record(labels=["a"]), "invalid_sample"),
        (_record(labels={}), "no_component"),
        (_record(labels={"job": "shop/checkout"}), "invalid_component"),
        (_record(name="x" * 300), "invalid_name"),
    ],
)
def test_what_cannot_be_read_is_named(value: bytes | None, reason: str) -> None:
    found = _translate(value)
    assert [(unread.reason, unread.item) for unread in found.unread] == [(reason, None)]
    assert found.samples == ()
