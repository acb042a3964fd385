"""When a topic's owner writes: at once what somebody waits for, the rest where no more records come."""

from __future__ import annotations

from chassis.kafka import TopicPartition
from services.monitor.domain.compound import memory
from services.monitor.handlers.compound import WRITE_EVERY_S, CompoundDecided, CompoundPartition
from services.monitor.handlers.compound_stages import TriggersStage
from tests.unit.monitor.compound.members import T0, Firing, several, stage
from tests.unit.monitor.compound.test_stages import Appended, _trigger


class Kept:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.decided: list[CompoundDecided] = []

    async def write(self, decided: CompoundDecided) -> None:
        self.decided.append(decided)

    async def close(self) -> None: ...


class Unmetered:
    def decided(self, source: str, decided: CompoundDecided, late: int) -> None: ...


def _partition(log: Kept, at_least: int = 2) -> CompoundPartition:
    inner = TriggersStage(stage(several(at_least, 60), lateness=0), {})
    place = TopicPartition("backout.triggers.v1", 0)
    return CompoundPartition("triggers", place, inner, log, Unmetered(), next_offset=0)


def _fired(component: str, at: int, offset: int) -> Appended:
    told = _trigger(Firing(component, at).event("fired", at))
    return Appended(told.value, told.timestamp, offset)


def _next_offset(decided: CompoundDecided) -> int:
    return memory.read_checkpoint(decided.states[memory.checkpoint_key("triggers")] or b"").next_offset


async def test_a_member_is_written_when_no_more_records_come_and_once() -> None:
    log = Kept()
    subject = _partition(log)
    await subject.take([_fired("a", T0, 0)], T0 + 1)
    assert (log.decided, subject.next_offset) == ([], 1)
    await subject.write_rest()
    await subject.write_rest()
    (decided,) = log.decided
    assert (_next_offset(decided), decided.ends_well) == (1, True)
    assert memory.member_key(Firing("a", T0).trigger_id) in decided.states


async def test_an_outcome_is_written_at_once_with_what_waited() -> None:
    log = Kept()
    subject = _partition(log)
    await subject.take([_fired("a", T0, 0)], T0 + 1)
    await subject.take([_fired("b", T0 + 1, 1)], T0 + 1.5)
    (decided,) = log.decided
    assert [outcome.kind for outcome in decided.outcomes] == ["fired"]
    assert _next_offset(decided) == 2
    assert {key for key in decided.states if memory.is_member(key)} == {
        memory.member_key(Firing("a", T0).trigger_id),
        memory.member_key(Firing("b", T0 + 1).trigger_id),
    }
    await subject.write_rest()
    assert len(log.decided) == 1


async def test_records_without_end_do_not_put_it_off() -> None:
    log = Kept()
    subject = _partition(log, at_least=9)
    for offset in range(5):
        await subject.take([_fired(f"c{offset}", T0 + offset, offset)], T0 + 10 + offset)
    assert [_next_offset(decided) for decided in log.decided] == [3]
    assert WRITE_EVERY_S == 2.0


async def test_a_good_record_that_waits_ends_a_row_of_unreadable_ones() -> None:
    log = Kept()
    subject = _partition(log)
    await subject.take([Appended(b"bad", T0 * 1_000, 0)], T0)
    await subject.take([_fired("a", T0, 1)], T0)
    await subject.take([Appended(b"bad", T0 * 1_000, 2)], T0)
    first, second = log.decided
    assert [entry.in_a_row for entry in first.set_aside] == [True]
    assert [entry.in_a_row for entry in second.set_aside] == [False]
    assert (first.ends_well, second.ends_well) == (False, False)
