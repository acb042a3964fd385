"""Samples say what was observed and nothing else; answers cite what they say; settings name what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.docrag import settings
from examples.docrag.answering import Passage, answer
from examples.docrag.chaos import Chaos
from examples.docrag.chunking import OVERLAP, WORDS_PER_CHUNK, chunk_pages
from examples.docrag.measure import WINDOW_S, Meter, memory_mb, p95


def _samples(meter: Meter, now: float) -> dict[str, dict[str, float]]:
    return {
        batch["component"]: {sample["metric"]: sample["value"] for sample in batch["samples"]}
        for batch in meter.batches(now, 100.0)
    }


def test_without_observations_there_are_no_gauges() -> None:
    samples = _samples(Meter(), 1000.0)
    assert samples["pdf_extraction"] == {
        "throughput_req_per_sec": 0.0,
        "requests_total": 0.0,
        "errors_total": 0.0,
        "memory_mb": 100.0,
    }
    assert samples["query_api"] == {"throughput_req_per_sec": 0.0}


def test_gauges_are_those_of_the_window_and_counters_those_of_ever() -> None:
    meter = Meter()
    meter.upload(1000.0, 4.0, failed=True)
    meter.extraction(1000.0, 4.0)
    meter.accuracy(1000.0, 0.0)
    for second in range(4):
        meter.upload(1005.0 + second / 10, 0.05, failed=False)
    meter.extraction(1005.0, 0.01)
    meter.accuracy(1005.0, 1.0)
    both = _samples(meter, 1005.5)["pdf_extraction"]
    assert both["response_time_p95_ms"] == 4000.0
    assert both["error_rate"] == 0.2
    assert both["accuracy_score"] == 0.5
    later = _samples(meter, 1000.0 + WINDOW_S)["pdf_extraction"]
    assert later["response_time_p95_ms"] == 50.0
    assert later["error_rate"] == 0.0
    assert later["accuracy_score"] == 1.0
    assert later["extraction_seconds_per_page"] == 0.01
    assert (later["requests_total"], later["errors_total"]) == (5.0, 1.0)
    assert later["throughput_req_per_sec"] == pytest.approx(4 / WINDOW_S, abs=1e-6)


def test_queries_have_metrics_of_their_own_names() -> None:
    meter = Meter()
    meter.query(1000.0, 9.0, failed=True)
    samples = _samples(meter, 1000.5)
    assert samples["query_api"]["query_response_time_p95_ms"] == 9000.0
    assert samples["query_api"]["query_error_rate"] == 1.0
    assert "response_time_p95_ms" not in samples["query_api"]
    assert "error_rate" not in samples["query_api"]


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=60))
def test_p95_is_the_smallest_value_that_covers_95_percent(values: list[float]) -> None:
    result = p95(values)
    assert result in values
    assert sum(value <= result for value in values) >= 0.95 * len(values)
    assert sum(value < result for value in values) < 0.95 * len(values)


def test_an_upload_by_the_fallback_is_counted_and_measures_nothing() -> None:
    meter = Meter()
    meter.fallback()
    samples = _samples(meter, 1000.0)["pdf_extraction"]
    assert samples["fallbacks_total"] == 1.0
    assert samples["requests_total"] == 0.0
    assert "error_rate" not in samples


def test_memory_is_plausible() -> None:
    assert 10 < memory_mb() < 10_000


@given(st.lists(st.integers(min_value=0, max_value=400), min_size=1, max_size=4))
def test_chunks_cover_every_word_in_order_and_stay_on_their_page(lengths: list[int]) -> None:
    pages = [" ".join(f"p{page}w{word}" for word in range(length)) for page, length in enumerate(lengths)]
    chunks = chunk_pages(pages)
    for number, page in enumerate(pages, start=1):
        own = [chunk for chunk in chunks if chunk.page == number]
        assert [chunk.position for chunk in own] == list(range(len(own)))
        assert all(len(chunk.content.split()) <= WORDS_PER_CHUNK for chunk in own)
        joined: list[str] = []
        for chunk in own:
            joined += chunk.content.split()[OVERLAP if joined else 0 :]
        assert joined == page.split()


def _passage(number: int, content: str) -> Passage:
    return Passage(f"d{number}.pdf", number, number, 10 + number, content, content[:10], 1 / number)


def test_an_answer_cites_the_sentences_it_takes() -> None:
    passages = [
        _passage(1, "The sky is grey. Bolts are tightened to 48 newton metres."),
        _passage(2, "Bread is baked. Housing bolts of the pump come in boxes of eight."),
    ]
    found = answer("How tight are the housing bolts of the pump?", passages)
    assert found["answer"].startswith("Housing bolts of the pump come in boxes of eight. [2]")
    assert "[1]" in found["answer"]
    assert found["citations"][1] == {
        "document": "d2.pdf",
        "document_id": 2,
        "page": 2,
        "chunk_id": 12,
        "snippet": "Bread is b",
        "score": 0.5,
    }


def test_nothing_found_is_no_answer() -> None:
    assert answer("why", []) == {"query": "why", "answer": None, "citations": []}


def test_faults_degrade_lines_and_names() -> None:
    assert Chaos(enhanced_lose_nth_line=2).degrade("a\nb\r\nc\nd") == "a\nc"
    assert Chaos().degrade("a\nb") == "a\nb"
    assert Chaos(fail_files_matching="tab").fails("table.pdf")
    assert not Chaos().fails("table.pdf")


def test_options_win_over_the_environment_and_both_over_defaults() -> None:
    environment = {"DOCRAG_DSN": "postgresql://h/a", "DOCRAG_PORT": "81", "DOCRAG_KAFKA": "k:9092"}
    read = settings.read({"port": "82", "host": None}, environment)
    assert (read.port, read.host, read.dsn, read.kafka) == (82, "127.0.0.1", "postgresql://h/a", "k:9092")
    assert read.topics.metrics == "backout.metrics.v1"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({}, "DOCRAG_DSN"),
        ({"DOCRAG_DSN": "mysql://x"}, "DOCRAG_DSN"),
        ({"DOCRAG_DSN": "postgresql://h/a", "DOCRAG_PORT": "http"}, "DOCRAG_PORT"),
        ({"DOCRAG_DSN": "postgresql://h/a", "DOCRAG_PORT": "70000"}, "DOCRAG_PORT"),
        ({"DOCRAG_DSN": "postgresql://h/a", "DOCRAG_FAILPOINT": "x"}, "DOCRAG_FAILPOINT"),
        ({"DOCRAG_DSN": "postgresql://h/a", "DOCRAG_BREAKERS_TOPIC": "b"}, "DOCRAG_KAFKA"),
        ({"DOCRAG_DSN": "postgresql://h/a", "DOCRAG_BREAKER_WHEN_STALE": "x"}, "DOCRAG_BREAKER_WHEN_STALE"),
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str], named: str) -> None:
    with pytest.raises(settings.BadSetting, match=named):
        settings.read({}, environment)
