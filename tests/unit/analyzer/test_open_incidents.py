"""The table of open incidents holds what Kafka can carry, however much an incident has come to know."""

from __future__ import annotations

from datetime import timedelta

from chassis.kafka import MAX_REQUEST_BYTES
from services.analyzer.adapters.open_incidents import OpenIncidents
from services.analyzer.domain.facts import Place, fact_of
from services.analyzer.domain.incident import Incident
from tests.unit.analyzer.scenario import START, Scenario


class Table(dict[bytes, bytes]):
    """A table of the stream, without its topic."""

    async def confirm(self) -> None:
        assert all(len(value) < MAX_REQUEST_BYTES // 2 for value in self.values())


def flapping(times: int) -> Incident:
    """A rollback that a pause holds over a weekend, and a trigger that flaps meanwhile."""
    facts = {}
    for number in range(times):
        scenario = Scenario(start=START + timedelta(minutes=5 * number))
        for kind, seconds in (("fired", 10), ("firing", 70), ("resolved", 120)):
            event = scenario.triggered(kind, seconds)
            fact = fact_of(event, Place(topic="triggers", partition=0, offset=len(facts)), event.time)
            assert fact is not None
            facts[event.id] = fact
    return Incident(id=Scenario().id, facts=facts)


async def test_an_incident_of_thousands_of_facts_can_be_kept() -> None:
    table = Table()
    incidents = OpenIncidents(table)
    large, small = flapping(800), Incident(id="other", facts=flapping(1).facts)
    assert len(large.model_dump_json()) > MAX_REQUEST_BYTES
    await incidents.replace(large)
    await incidents.replace(small)

    assert OpenIncidents(table).all() == {large.id: large, "other": small}
    # What an earlier version wrote reads as it did, and what is small stays as it was.
    assert table[b"other"] == small.model_dump_json().encode()
    await incidents.replace(small, merged=[large.id])
    assert incidents.all() == {"other": small}
