"""Changing the component so that a crash at any instant leaves file and ledger agreeing after the restart.

The order of a change:

1. One transaction: judge epoch and key, record the effect as *pending* with its answer, record the new
   configuration and, beside it, the checksum of the one before.
2. Replace the configuration file atomically.
3. Mark the effect as *applied*.

The record runs ahead of the file, never behind. After a crash between 1 and 3 the file carries either the
recorded checksum or the previous one; the start brings it up and settles the effect. Any other file is not
ours: it is reported and neither used nor overwritten.

One process owns a state directory, by a lock that dies with it, so that an asyncio lock is enough to keep
changes apart.
"""

import asyncio
import fcntl
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from examples.docrag import ledger_store as store
from examples.docrag.configuration_file import ConfigurationFiles
from examples.docrag.database import Connection, Pool
from examples.docrag.ledger import Agreement, ControlRequest, Verdict, compare, decide
from examples.docrag.routing import (
    ConfigurationError,
    ExtractionConfiguration,
    OriginalConfiguration,
    checksum_of,
    describe,
    initial,
)

log = logging.getLogger(__name__)

Transition = Callable[[ExtractionConfiguration], ExtractionConfiguration]


class StateDirectoryInUse(Exception):
    """Another process owns the state directory. The message names the directory."""


class StaleEpoch(Exception):
    """The request's epoch is older than one seen before."""


class KeyReused(Exception):
    """The request's key was used before with another request."""


class ControlPlane:
    """The component's control plane. Enter it before use: it takes the state directory and reconciles it."""

    def __init__(self, pool: Pool, state_dir: Path, failpoint: str | None = None) -> None:
        self.files = ConfigurationFiles(state_dir)
        self._pool = pool
        self._state_dir = state_dir
        self._failpoint = failpoint
        self._changing = asyncio.Lock()
        self._ownership: int | None = None
        self._accepted: frozenset[str] = frozenset()

    async def __aenter__(self) -> Self:
        self._own_directory()
        try:
            await self.reconcile()
        except ConfigurationError as error:
            # The service still starts: it reports the fault on /readyz and refuses whatever needs the file.
            log.error("the configuration cannot be used", extra={"error": str(error)})  # noqa: TRY400
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ownership is not None:
            os.close(self._ownership)
            self._ownership = None

    def configuration(self) -> ExtractionConfiguration:
        """What is in force. Raises ConfigurationError, also for an intact file that is not as recorded."""
        config = self.files.read()
        if checksum_of(config) not in self._accepted:
            raise ConfigurationError(
                f"{self.files.path.name} is not the recorded configuration; put the last intact copy back, or"
                " remove the file and restart to have it written anew from the record"
            )
        return config

    def original_or_backup(self) -> OriginalConfiguration:
        """The original extractor's configuration, from the backup while it is shut down.

        Raises ConfigurationError.
        """
        return self.configuration().extractors.original or self.files.read_backup()

    async def describe(self) -> dict[str, Any]:
        """The component as the control endpoint shows it. Raises ConfigurationError."""
        config = self.configuration()
        async with self._pool.acquire() as connection:
            record = await store.read_component(connection)
        return describe(config, record.highest_epoch if record else config.epoch)

    async def change(self, request: ControlRequest, transition: Transition) -> dict[str, Any]:
        """Change the configuration once under the request's key; the answer is the component afterwards.

        Raises StaleEpoch, KeyReused, ChangeRefused, ConfigurationError, and OSError if the file cannot be
        written (the change then stays pending and is carried out before the next one, or at the next start).
        """
        async with self._changing:
            await self._reconcile()
            async with self._pool.acquire() as connection:
                async with connection.transaction():
                    record, epoch, answered = await self._judge(connection, request)
                    if answered is not None:
                        return answered
                    config = transition(record.config).model_copy(update={"epoch": epoch})
                    answer = describe(config, epoch)
                    await store.insert_effect(connection, request, answer)
                    if checksum_of(config) != record.checksum:
                        await store.change_component(connection, config, epoch)
                    self._die_at("before_ledger_commit")
                self._die_at("after_ledger_commit")
                await self._write(config)
                self._die_at("after_file_write")
                await store.settle(connection)
            return answer

    async def perform(
        self, request: ControlRequest, action: Callable[[], Awaitable[dict[str, Any]]]
    ) -> dict[str, Any]:
        """Run an action that changes no configuration, once under the request's key.

        Raises StaleEpoch, KeyReused, ConfigurationError, and what the action raises (nothing is recorded).
        """
        async with self._changing:
            await self._reconcile()
            async with self._pool.acquire() as connection:
                async with connection.transaction():
                    _, _, answered = await self._judge(connection, request)
                if answered is not None:
                    return answered
            answer = await action()
            async with self._pool.acquire() as connection, connection.transaction():
                await store.insert_effect(connection, request, answer)
                await store.settle(connection)
            return answer

    async def effects(self) -> list[dict[str, Any]]:
        """The ledger, oldest first."""
        async with self._pool.acquire() as connection:
            return await store.list_effects(connection)

    async def effect(self, key: str) -> dict[str, Any] | None:
        """One entry of the ledger."""
        async with self._pool.acquire() as connection:
            return await store.find_effect(connection, key)

    async def check(self) -> None:
        """Raise ConfigurationError unless the configuration and the backup can be used."""
        if not self._accepted:
            await self.reconcile()
        self.configuration()
        self.files.read_backup()

    async def reconcile(self) -> None:
        """Bring file and record into agreement. Raises ConfigurationError where it is not ours to decide."""
        async with self._changing:
            await self._reconcile()

    async def _judge(
        self, connection: Connection, request: ControlRequest
    ) -> tuple[store.ComponentRecord, int, dict[str, Any] | None]:
        record = await store.read_component(connection, lock=True)
        if record is None:
            raise ConfigurationError("the component has no record in the database; restart the service")
        known = await store.find_answer(connection, request.key)
        decision = decide(request, known.fingerprint if known else None, record.highest_epoch)
        if decision.verdict is Verdict.STALE_EPOCH:
            raise StaleEpoch(decision.reason)
        if decision.verdict is Verdict.KEY_REUSED:
            raise KeyReused(decision.reason)
        if decision.highest_epoch != record.highest_epoch:
            await store.raise_epoch(connection, decision.highest_epoch)
        if known is None:
            return record, decision.highest_epoch, None
        await store.count_request(connection, request.key)
        return record, decision.highest_epoch, known.answer

    async def _reconcile(self) -> None:
        file = self.files.read() if self.files.exists() else None
        async with self._pool.acquire() as connection, connection.transaction():
            record = await store.read_component(connection, lock=True)
            agreement = compare(
                None if file is None else checksum_of(file),
                None if record is None else record.checksum,
                None if record is None else record.previous_checksum,
            )
            if agreement is Agreement.FOREIGN:
                raise ConfigurationError(
                    f"{self.files.path.name}: {agreement.value}; put the last intact copy back, or remove the"
                    " file and restart to have it written anew from the record"
                )
            if agreement is not Agreement.AGREE:
                level = logging.INFO if agreement is Agreement.FIRST_START else logging.WARNING
                log.log(level, "reconciling the configuration", extra={"reason": agreement.value})
            if record is None:
                config = file or initial()
                await store.create_component(connection, config)
            else:
                config = record.config
            if agreement in (Agreement.FIRST_START, Agreement.ROLL_FORWARD, Agreement.REBUILD):
                await self._write(config)
            await store.settle(connection)
        self._accepted = frozenset({checksum_of(config)})
        original = config.extractors.original
        if original is not None and not self.files.backup_path.exists():
            await asyncio.to_thread(self.files.write_backup, original)

    async def _write(self, config: ExtractionConfiguration) -> None:
        # Readers may see either file while it is being replaced.
        written = frozenset({checksum_of(config)})
        self._accepted |= written
        await asyncio.to_thread(self.files.write, config)
        self._accepted = written

    def _own_directory(self) -> None:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._state_dir / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise StateDirectoryInUse(
                f"{self._state_dir} is used by another docrag process; stop it or choose another --state-dir"
            ) from error
        self._ownership = descriptor

    def _die_at(self, failpoint: str) -> None:
        if self._failpoint == failpoint:
            os.kill(os.getpid(), signal.SIGKILL)
