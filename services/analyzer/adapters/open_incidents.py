"""The open incidents in a Faust table, whose writes are confirmed by its changelog."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import faust
from faust.transport.drivers import aiokafka as driver

from services.analyzer.domain.incident import Incident

_LARGE_BYTES = 500_000


class ConfirmedTable(faust.Table[bytes, bytes]):  # type: ignore[misc, unused-ignore]
    """A table whose writes can be awaited."""

    logger = driver.logger
    _unconfirmed: list[Any]

    def send_changelog(self, *args: Any, **kwargs: Any) -> Any:
        future = super().send_changelog(*args, **kwargs)
        self.__dict__.setdefault("_unconfirmed", []).append(future)
        return future

    def partition_for_key(self, key: Any) -> int:
        # Faust takes the partition of the record at hand, and so refuses every write without one.
        return 0

    async def confirm(self) -> None:
        """Wait until the changelog holds every write so far; raises what kept one from it."""
        futures, self.__dict__["_unconfirmed"] = self.__dict__.get("_unconfirmed", []), []
        await asyncio.gather(*futures)


class OpenIncidents:
    """The open incidents of this instance, in a Faust table."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._parsed: dict[bytes, tuple[bytes, Incident]] = {}

    def all(self) -> Mapping[str, Incident]:
        """Every open incident, by id."""
        found = {}
        for key, value in self._table.items():
            known = self._parsed.get(key)
            if known is None or known[0] != value:
                known = self._parsed[key] = (value, Incident.model_validate_json(_unpacked(value)))
            found[known[1].id] = known[1]
        for gone in self._parsed.keys() - {one.encode() for one in found}:
            del self._parsed[gone]
        return found

    async def replace(self, incident: Incident, merged: Sequence[str] = ()) -> None:
        """Store an incident, and forget those that were merged into it."""
        for one in merged:
            self._forget(one)
        self._table[incident.id.encode()] = _packed(incident.model_dump_json().encode())
        await self._table.confirm()

    async def remove(self, incident_id: str) -> None:
        """Forget an incident."""
        self._forget(incident_id)
        await self._table.confirm()

    def _forget(self, incident_id: str) -> None:
        key = incident_id.encode()
        if key in self._table:
            del self._table[key]


def _packed(text: bytes) -> bytes:
    """An incident as the changelog takes it. One that a pause holds open while a trigger flaps comes to
    know thousands of facts, and a record of Kafka has an end; they are much alike."""
    return text if len(text) < _LARGE_BYTES else zlib.compress(text)


def _unpacked(value: bytes) -> bytes:
    return value if value.startswith(b"{") else zlib.decompress(value)
