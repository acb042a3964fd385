"""The second stage's two topics: what their records mean to the state machines, and what is kept."""

from __future__ import annotations

from collections.abc import Mapping

from chassis.consume import event_of
from chassis.errors import Unreadable
from chassis.kafka import Record
from schemas.triggers import GroupOverflow, TriggerEvent
from services.monitor.domain.compound.member_stage import MemberStage
from services.monitor.domain.compound.members import MemberEvent
from services.monitor.domain.compound.memory import (
    StageCheckpoint,
    checkpoint_bytes,
    checkpoint_key,
    episode_bytes,
    episode_key,
    member_bytes,
    member_key,
    report_episode_bytes,
)
from services.monitor.domain.compound.outcomes import CompoundOutcome, Episode
from services.monitor.domain.compound.report_stage import ReportStage
from services.monitor.handlers.recorded_reports import report_in_time


class TriggersStage:
    """Over the triggers topic. Compound triggers are on it, too, and are no members: one that counted
    its own announcements would keep itself firing.

    ``kept`` are the episodes that the states topic has.
    """

    def __init__(self, stage: MemberStage, kept: Mapping[str, Episode]) -> None:
        self._stage = stage
        self._kept = dict(kept)

    def take(self, record: Record, now: float) -> list[CompoundOutcome]:
        trigger = event_of(record.value).data
        if isinstance(trigger, GroupOverflow):
            return []
        if not isinstance(trigger, TriggerEvent):
            raise Unreadable("unexpected_type", f"an event of {trigger.topic} is not expected here")
        if trigger.members:
            return []
        # The producer's clock wrote the time of appending; ours bounds it.
        return self._stage.take(member_event(trigger), min(record.timestamp / 1000, now))

    def pass_time(self, now: float) -> list[CompoundOutcome]:
        return self._stage.pass_time(now)

    @property
    def due(self) -> float | None:
        return self._stage.due

    @property
    def late(self) -> int:
        return self._stage.late

    def changes(self, next_offset: int) -> Mapping[bytes, bytes | None]:
        states: dict[bytes, bytes | None] = {
            member_key(trigger_id): None if member is None else member_bytes(member)
            for trigger_id, member in self._stage.changed().items()
        }
        now, before = self._stage.episodes, self._kept
        for name in now.keys() | before.keys():
            if now.get(name) != before.get(name):
                states[episode_key("triggers", name)] = episode_bytes(now[name]) if name in now else None
        self._kept = dict(now)
        checkpoint = StageCheckpoint(next_offset, self._stage.evaluated, self._stage.shown)
        return {**states, checkpoint_key("triggers"): checkpoint_bytes(checkpoint)}


class ReportsStage:
    """Over the reports topic."""

    late = 0

    def __init__(self, stage: ReportStage) -> None:
        self._stage = stage

    def take(self, record: Record, now: float) -> list[CompoundOutcome]:
        return self._stage.take(report_in_time(event_of(record.value), now), now)

    def pass_time(self, now: float) -> list[CompoundOutcome]:
        return self._stage.pass_time(now)

    @property
    def due(self) -> float | None:
        return self._stage.due

    def changes(self, next_offset: int) -> Mapping[bytes, bytes | None]:
        states: dict[bytes, bytes | None] = {
            episode_key("reports", name): None if episode is None else report_episode_bytes(episode)
            for name, episode in self._stage.changed().items()
        }
        return {**states, checkpoint_key("reports"): checkpoint_bytes(StageCheckpoint(next_offset))}


def member_event(trigger: TriggerEvent) -> MemberEvent:
    """What the second stage needs of an announcement."""
    return MemberEvent(
        trigger_id=trigger.trigger_id,
        trigger=trigger.trigger,
        component=trigger.component,
        severity=trigger.severity,
        kind=trigger.kind,
        at=int(trigger.at.timestamp()),
        began=int(trigger.began.timestamp()),
    )
