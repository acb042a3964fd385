"""ingest.yml, read with every mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.errors import ConfigErrors
from services.monitor.adapters.ingest_file import load_names
from services.monitor.domain.ingest.names import Names, Renaming

ROOT = Path(__file__).parents[4]


def _mistaken_lines(directory: Path) -> list[int]:
    """The lines that are refused, once for each mistake."""
    with pytest.raises(ConfigErrors) as caught:
        load_names(directory)
    return sorted(int(error.place.rsplit(":", 1)[1]) for error in caught.value.errors)


def test_without_a_file_all_metrics_keep_their_names(tmp_path: Path) -> None:
    assert load_names(tmp_path) == Names()


def test_the_shipped_file_leads_to_the_plans_response_time() -> None:
    names = load_names(ROOT / "config")
    renaming = names.renaming("http.server.request.duration")
    assert renaming == Renaming("response_time_{stat}_ms", 1000.0, merge=True)
    assert renaming.name("http.server.request.duration", "p95") == "response_time_p95_ms"
    assert names.renaming("anything") == Renaming()


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "ingest.yml").write_text(
        "metrics: [{from: a.b, factor: 0.001}]\nothers: drop\ncomponents: {shop/checkout: checkout}\n"
    )
    names = load_names(tmp_path)
    assert names == Names({"a.b": Renaming(factor=0.001)}, {"shop/checkout": "checkout"}, keep_others=False)
    assert names.renaming("other") is None


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "ingest.yml").write_text(
        "metrics:\n"
        "  - {from: a, factor: 0}\n"
        "  - {from: b, factro: 1}\n"
        "  - {to: c}\n"
        "  - {from: d, merge: 1}\n"
        "  - {from: e}\n"
        "  - {from: e}\n"
        "others: maybe\n"
        "components: {a: b/c}\n"
    )
    assert _mistaken_lines(tmp_path) == [2, 3, 4, 5, 7, 8, 9]


def test_an_unknown_key_hides_no_other_mistake(tmp_path: Path) -> None:
    (tmp_path / "ingest.yml").write_text(
        "metric: []\n"
        "metrics:\n"
        "  - {from: a, factro: 1, factor: 0, merge: 1, to: 3}\n"
        "others: maybe\n"
        "components: []\n"
    )
    assert _mistaken_lines(tmp_path) == [1, 3, 3, 3, 3, 4, 5]
