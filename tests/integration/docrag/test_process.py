"""The process: killed at every point of a change, stopped in the middle of work, started wrongly or twice."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from chassis.embedded.postgres import EmbeddedPostgres
from examples.docrag import corpus
from examples.docrag.routing import ExtractionConfiguration, checksum_of, unseal
from examples.docrag.settings import FAILPOINTS
from tests.integration.docrag.service import COMPONENT, ROOT, Service, ServiceProcess, docrag, run

PDF = corpus.build()[0]
KILLED = -signal.SIGKILL


async def _recorded_checksum(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return str(await connection.fetchval("SELECT config_checksum FROM docrag.components"))
    finally:
        await connection.close()


async def _poll_until(condition: Callable[[], bool], what: str, patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {patience_s} s that {what}"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("failpoint", FAILPOINTS)
async def test_after_a_kill_file_and_ledger_agree(process: ServiceProcess, failpoint: str) -> None:
    await process.start(failpoint=failpoint)
    with pytest.raises(aiohttp.ClientError):
        await process.put(COMPONENT, {"mode": "enhanced"}, key="x/1", epoch=2)
    assert await process.ended() == KILLED

    await process.start()
    committed = failpoint != "before_ledger_commit"
    state = (await process.get(COMPONENT)).body
    content = (process.state_dir / "extraction.json").read_bytes()
    file = unseal(content, ExtractionConfiguration, "extraction.json")
    assert file.mode == state["mode"] == ("enhanced" if committed else "original")
    assert checksum_of(file) == await _recorded_checksum(process.dsn)
    effects = [(effect["key"], effect["status"]) for effect in (await process.get("/effects")).body]
    assert effects == ([("x/1", "applied")] if committed else [])

    again = await process.put(COMPONENT, {"mode": "enhanced"}, key="x/1", epoch=2)
    assert (again.status, again.body["mode"]) == (200, "enhanced")
    effect = (await process.get("/effects/x/1")).body
    assert effect["times_requested"] == (2 if committed else 1)
    assert (await process.put(COMPONENT, {"mode": "original"}, key="y/1", epoch=1)).status == 409
    assert (await process.upload("a.pdf", PDF.content)).status == 201


async def test_sigterm_ends_it_cleanly_in_the_middle_of_slow_work(process: ServiceProcess) -> None:
    await process.start()
    await process.put(COMPONENT, {"mode": "enhanced"})
    await process.put("/chaos", {"enhanced_delay_s": 30})
    upload = asyncio.create_task(process.upload("a.pdf", PDF.content))
    await process.get("/healthz")
    started = time.monotonic()
    assert await process.end(signal.SIGTERM) == 0
    assert time.monotonic() - started < 8
    (answer,) = await asyncio.gather(upload, return_exceptions=True)
    assert isinstance(answer, aiohttp.ClientError) or answer.status == 201
    assert "Traceback" not in process.stderr.read_text()


async def test_a_second_process_on_the_same_state_is_refused(service: Service) -> None:
    status, _, err = await run(
        "serve", "--port", "0", "--dsn", service.dsn, "--state-dir", str(service.state_dir)
    )
    assert status == 1
    assert "is used by another docrag process" in err.splitlines()[-1]
    assert "Traceback" not in err


async def test_a_wrong_setting_is_a_message(tmp_path: Path) -> None:
    status, _, err = await run("serve", "--dsn", "mysql://x", "--state-dir", str(tmp_path))
    assert (status, "DOCRAG_DSN" in err, "Traceback" in err) == (2, True, False)


async def test_a_change_that_cannot_be_written_is_carried_out_later(service: Service) -> None:
    blocker = service.state_dir / ".extraction.json.new"
    blocker.mkdir()
    assert (await service.put(COMPONENT, {"mode": "enhanced"}, key="x/1")).status == 503
    assert (await service.get("/effects/x/1")).body["status"] == "pending"
    blocker.rmdir()
    again = await service.put(COMPONENT, {"mode": "enhanced"}, key="x/1")
    assert (again.status, again.body["mode"]) == (200, "enhanced")
    assert (await service.get("/effects/x/1")).body["status"] == "applied"
    assert (await service.get(COMPONENT)).body["mode"] == "enhanced"


async def test_a_missing_database_is_created(stopped: Service, embedded_postgres: EmbeddedPostgres) -> None:
    stopped.dsn = embedded_postgres.dsn('docrag "own"')
    await stopped.start()
    assert (await stopped.get("/readyz")).status == 200
    await stopped.stop()
    connection = await asyncpg.connect(embedded_postgres.dsn())
    await connection.execute('DROP DATABASE "docrag ""own"""')
    await connection.close()


async def test_it_connects_to_the_database_again(service: Service) -> None:
    connection = await asyncpg.connect(service.dsn)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    assert (await service.put(COMPONENT, {"mode": "enhanced"}, key="x")).status in (200, 503)
    assert (await service.put(COMPONENT, {"mode": "enhanced"}, key="x")).status == 200
    assert (await service.get("/readyz")).status == 200


async def test_the_load_generator_counts_what_it_did(service: Service) -> None:
    status, out, err = await run("load", "--url", service.url, "--rate", "8", "--duration", "2")
    assert status == 0, err
    summary = json.loads(out)
    assert summary["uploads"]["succeeded"] == summary["uploads"]["sent"] == 16
    assert summary["queries"]["succeeded"] == summary["queries"]["sent"] == 16
    assert summary["queries"]["with_citations"] > 0
    assert 0 < summary["uploads"]["p95_ms"] <= summary["uploads"]["max_ms"]


async def test_the_load_generator_stops_at_sigterm_and_counts_failures(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    await service.put(COMPONENT, {"mode": "enhanced"})
    await service.put("/chaos", {"fail_files_matching": "pdf"})
    load = await asyncio.create_subprocess_exec(
        *docrag("load", "--url", service.url, "--rate", "20", "--duration", "600"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    await _poll_until(lambda: caplog.text.count("upload failed") >= 3, "three uploads failed")
    load.terminate()
    out, _ = await asyncio.wait_for(load.communicate(), 30)
    assert load.returncode == 0
    assert json.loads(out)["uploads"]["failures"]["500"] >= 3


async def test_the_corpus_is_written(tmp_path: Path) -> None:
    status, out, _ = await run("corpus", "--out", str(tmp_path / "files"))
    assert status == 0
    assert len(out.split()) == 16
    assert (tmp_path / "files" / PDF.name).read_bytes() == PDF.content
