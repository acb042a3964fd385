"""The sample system on the session's real Postgres, in a database of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.integration.docrag.service import Service, ServiceProcess


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
async def stopped(session: aiohttp.ClientSession, database: str, tmp_path: Path) -> AsyncIterator[Service]:
    """A service that the test starts itself."""
    service = Service(session, database, tmp_path)
    yield service
    await service.stop()


@pytest.fixture
async def service(stopped: Service) -> Service:
    """A running service in original mode, publishing nothing."""
    await stopped.start()
    return stopped


@pytest.fixture
async def process(
    session: aiohttp.ClientSession, database: str, tmp_path: Path
) -> AsyncIterator[ServiceProcess]:
    """A service as a process of its own that the test starts itself."""
    process = ServiceProcess(session, database, tmp_path)
    yield process
    await process.close()
