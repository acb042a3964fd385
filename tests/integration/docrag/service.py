"""The sample system, driven over HTTP as any controller drives it: in this process, or in its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp

from examples.docrag import server
from examples.docrag import settings as docrag_settings

ROOT = Path(__file__).parents[3]
START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 20.0
COMPONENT = "/components/pdf_extraction"


@dataclass(frozen=True)
class Answer:
    """Status and decoded body."""

    status: int
    body: Any


class Client:
    """Requests to a running service."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.url = ""

    async def get(self, path: str, **query: str) -> Answer:
        return await self._call("GET", path, params=query)

    async def put(self, path: str, body: Any, key: str | None = None, epoch: int | None = None) -> Answer:
        return await self._call("PUT", path, json=body, headers=_control(key, epoch))

    async def post(self, path: str, body: Any, key: str | None = None, epoch: int | None = None) -> Answer:
        return await self._call("POST", path, json=body, headers=_control(key, epoch))

    async def delete(self, path: str) -> Answer:
        return await self._call("DELETE", path)

    async def upload(self, name: str, content: bytes | IO[bytes]) -> Answer:
        return await self._call("POST", "/documents", params={"name": name}, data=content)

    async def _call(self, method: str, path: str, **arguments: Any) -> Answer:
        async with self._session.request(method, self.url + path, **arguments) as response:
            return Answer(response.status, await response.json())


def _control(key: str | None, epoch: int | None) -> dict[str, str]:
    headers = {} if key is None else {"Idempotency-Key": key}
    return headers if epoch is None else {**headers, "X-Backout-Epoch": str(epoch)}


class Service(Client):
    """The service in this process, on real HTTP and real Postgres. Its state directory outlives a stop."""

    def __init__(self, session: aiohttp.ClientSession, dsn: str, directory: Path) -> None:
        super().__init__(session)
        self.dsn = dsn
        self.state_dir = directory / "state"
        self._stack: AsyncExitStack | None = None

    async def start(self, **options: str) -> None:
        given = {"dsn": self.dsn, "port": "0", "state_dir": str(self.state_dir), **options}
        self._stack = AsyncExitStack()
        self.url = (await server.start(docrag_settings.read(given, {}), self._stack)).url

    async def stop(self) -> None:
        if self._stack is not None:
            await self._stack.aclose()
            self._stack = None


class ServiceProcess(Client):
    """The service as a process that can be killed, and started again on the same state directory."""

    def __init__(self, session: aiohttp.ClientSession, dsn: str, directory: Path) -> None:
        super().__init__(session)
        self.dsn = dsn
        self.state_dir = directory / "state"
        self.stderr = directory / "stderr.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, failpoint: str = "") -> None:
        environment = {**os.environ, "DOCRAG_DSN": self.dsn, "DOCRAG_FAILPOINT": failpoint}
        with self.stderr.open("ab") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *docrag("serve", "--port", "0", "--state-dir", str(self.state_dir)),
                cwd=ROOT,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), START_PATIENCE_S)
        assert line, f"the service did not start:\n{self.stderr.read_text()}"
        self.url = json.loads(line)["url"]

    async def end(self, number: signal.Signals) -> int:
        """Signal it if it still runs; the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for it to end by itself; the exit status."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), STOP_PATIENCE_S)

    async def close(self) -> None:
        if self._process is not None:
            await self.end(signal.SIGKILL)


def docrag(*arguments: str) -> tuple[str, ...]:
    """The command line of the sample system."""
    return (sys.executable, "-m", "examples.docrag", *arguments)


async def run(*arguments: str) -> tuple[int, str, str]:
    """Run a command of the sample system to its end: exit status, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        *docrag(*arguments), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), START_PATIENCE_S)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
