"""An incident: the set of facts that share an id, directly or through absorbed requests.

Nothing here depends on the order in which facts came: ``merge`` is a union, what is left out of
the union (``_essential``) depends on the facts alone, and a link between two incidents can be
known before either of them. So reading a topic twice, or one topic before another, ends in the
same incident.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from services.analyzer.domain.facts import (
    CommandFact,
    DeliveryFact,
    Fact,
    RollbackFact,
    TriggerFact,
    keys_of,
    opens,
)

F = TypeVar("F", TriggerFact, CommandFact, RollbackFact, DeliveryFact)


class Incident(BaseModel):
    """``id`` is that of the first trigger or command; ``facts`` are by event id."""

    model_config = ConfigDict(frozen=True)

    id: str
    facts: dict[str, Fact]

    @property
    def opened(self) -> bool:
        """False while only echoes are known: a delivery, say, that came before its rollback."""
        return any(opens(fact) for fact in self.facts.values())

    @property
    def opened_at(self) -> datetime:
        """When it began: the first fact that opens it, whatever topic that came from."""
        facts = [fact for fact in self.facts.values() if opens(fact)] or list(self.facts.values())
        return min(fact.at for fact in facts)

    @property
    def began(self) -> datetime:
        """The start of the first breach; where a person began it, ``opened_at``."""
        return min([self.opened_at, *(fact.began for fact in self.of(TriggerFact))])

    @property
    def component(self) -> str:
        """The component of what began it."""
        own = [fact for fact in self.facts.values() if self.id in keys_of(fact) and opens(fact)]
        return _first(own or list(self.facts.values())).component

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(sorted({fact.component for fact in self.facts.values()}))

    @property
    def members(self) -> frozenset[str]:
        """Every id that leads here."""
        return frozenset({self.id}).union(*(keys_of(fact) for fact in self.facts.values()))

    @property
    def absorbed(self) -> tuple[str, ...]:
        """The triggers and commands that were absorbed into this incident's rollback."""
        found = {fact.requested_by for fact in self.of(RollbackFact) if fact.kind == "absorbed"}
        return tuple(sorted(found - {self.id}))

    @property
    def triggers(self) -> tuple[str, ...]:
        return tuple(sorted({fact.trigger_id for fact in self.of(TriggerFact)}))

    @property
    def executions(self) -> tuple[str, ...]:
        """Executions, in the order in which they started."""
        first: dict[str, tuple[datetime, str]] = {}
        for fact in self.of(RollbackFact):
            if not fact.answers:
                at = (fact.at, fact.execution_id)
                first[fact.execution_id] = min(first.get(fact.execution_id, at), at)
        return tuple(sorted(first, key=lambda one: first[one]))

    def of(self, kind: type[F]) -> Iterator[F]:
        """The facts of one kind."""
        return (fact for fact in self.facts.values() if isinstance(fact, kind))


@dataclass(frozen=True, slots=True)
class Change:
    """What a fact does to the open incidents: ``incident`` is put, those in ``merged`` go into it."""

    incident: Incident
    merged: tuple[str, ...] = ()


def find(incidents: Mapping[str, Incident], key: str) -> Incident | None:
    """The open incident that an id leads to."""
    if key in incidents:
        return incidents[key]
    return next((one for one in incidents.values() if key in one.members), None)


def apply(incidents: Mapping[str, Incident], fact: Fact) -> Change:
    """Add a fact to the incident it belongs to, which is begun, or joined with others, if need be."""
    root, *others = keys_of(fact)
    into = find(incidents, root) or Incident(id=root, facts={})
    joined = [into]
    for key in others:
        other = find(incidents, key)
        if other is not None and other.id not in [one.id for one in joined]:
            joined.append(other)
    facts = _essential([*(known for one in joined for known in one.facts.values()), fact])
    incident = Incident(id=into.id, facts=facts)
    return Change(incident, tuple(one.id for one in joined[1:]))


def apply_all(incidents: Mapping[str, Incident], facts: Iterable[Fact]) -> dict[str, Incident]:
    """The incidents with every fact in them."""
    found = dict(incidents)
    for fact in facts:
        change = apply(found, fact)
        found[change.incident.id] = change.incident
        for merged in change.merged:
            del found[merged]
    return found


def _essential(facts: Iterable[Fact]) -> dict[str, Fact]:
    """One fact an event (the first by offset), without those that repeat what others say.

    A trigger that fires for days is announced every minute, and a journal has many entries: of
    each run of repetitions the first and the last are kept.
    """
    by_event: dict[str, Fact] = {}
    for fact in facts:
        known = by_event.get(fact.event_id)
        if known is None or fact.place.offset < known.place.offset:
            by_event[fact.event_id] = fact
    runs: dict[tuple[str, ...], list[Fact]] = {}
    for fact in by_event.values():
        runs.setdefault(_run(fact), []).append(fact)
    kept = [fact for run in runs.values() for fact in {min(run, key=_order), max(run, key=_order)}]
    return {fact.event_id: fact for fact in sorted(kept, key=_order)}


def _run(fact: Fact) -> tuple[str, ...]:
    """What facts repeat each other: those of one run differ in time only."""
    match fact:
        case TriggerFact(kind="firing") | TriggerFact(kind="no_data"):
            return ("trigger", fact.trigger_id, fact.kind)
        case RollbackFact(answers=False, terminal=False):
            return ("execution", fact.execution_id)
        case DeliveryFact(about="progress"):
            return ("progress", fact.execution_id, fact.receiver)
        case TriggerFact() | CommandFact() | RollbackFact() | DeliveryFact():
            return ("event", fact.event_id)


def _order(fact: Fact) -> tuple[datetime, str, int, str]:
    return (fact.at, fact.topic, fact.place.offset, fact.event_id)


def _first(facts: Iterable[Fact]) -> Fact:
    return min(facts, key=_order)
