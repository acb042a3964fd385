"""Whom an outage of the monitor is told, and in which words.

It is an alarm for those who run backout, not news for customers: it goes to the on-call
(``engineering_team``), and where no channel reaches them to those of the plan's immediate tier that
one reaches, on Slack or by mail. That it began is ``critical``: while it lasts, no rollback begins by
itself. That it ended is ``medium``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from schemas.notifications import Tier
from services.notifier.domain.announcements import ON_CALL, Delivery, Message
from services.notifier.domain.evaluation import Announcement, Reason, Silent
from services.notifier.domain.plan import PROMISES, CommunicationPlan, Receiver

COMPONENT = "monitor"
HEADLINE = "Trigger Evaluation"
_TIER: Tier = "immediate"
_FOR_OPERATORS = ("slack", "email")
_LISTED = 8
_WORDS: Mapping[Reason, str] = {
    "silent": "no heartbeat of {instance} since {heard}",
    "released": "{instance} let go in good order at {heard} and no other monitor has taken over",
    "standing_still": "heartbeats of {instance} come, but evaluation has stood still since {evaluated}",
    "never_heard": "no monitor has ever evaluated it",
}


def deliveries_of(
    announcement: Announcement,
    plan: CommunicationPlan,
    receivers: Mapping[str, Receiver],
    *,
    kafka_answers: bool,
) -> tuple[Delivery, ...]:
    """The deliveries of an announcement; ``kafka_answers``: whether the notifier itself can read."""
    outage, kind = announcement.outage, announcement.kind
    message = _message(announcement, plan, kafka_answers=kafka_answers)
    return tuple(
        Delivery(
            delivery_id=f"{outage.outage_id}/{receiver.name}/{kind}",
            incident_id=outage.outage_id,
            execution_id=outage.outage_id,
            component=COMPONENT,
            event_id=f"{outage.outage_id}/{kind}",
            receiver=receiver.name,
            tier=_TIER,
            channel=receiver.channel,
            addresses=receiver.addresses,
            lane=f"{outage.outage_id}/{receiver.channel}/{receiver.name}",
            about=kind,
            template=kind,
            message=message,
            caused_at=announcement.at,
            due=announcement.at + PROMISES[_TIER],
            refusal=("not_configured", receiver.not_configured) if receiver.not_configured else None,
        )
        for receiver in operators(plan, receivers)
    )


def operators(plan: CommunicationPlan, receivers: Mapping[str, Receiver]) -> tuple[Receiver, ...]:
    """Who runs backout, by the plan's matrix; the on-call alone even where nothing reaches anybody, so
    that it is recorded that nobody was told."""
    immediate = [receivers[name] for name in plan.matrix.get(_TIER, ()) if name != ON_CALL]
    on_call = [receivers[ON_CALL]] if ON_CALL in receivers else []
    if any(_is_reached(receiver) for receiver in on_call):
        return tuple(on_call)
    return tuple(receiver for receiver in immediate if _is_reached(receiver)) or tuple(on_call)


def _is_reached(receiver: Receiver) -> bool:
    return receiver.channel in _FOR_OPERATORS and not receiver.not_configured


def _message(announcement: Announcement, plan: CommunicationPlan, *, kafka_answers: bool) -> Message:
    stopped = announcement.kind == "evaluation_stopped"
    template = plan.templates[announcement.kind]
    which = _which(announcement)
    why = _why(announcement.silent)
    if stopped and not kafka_answers:
        why = f"Kafka does not answer the notifier either. {why}"
    reasons = dict.fromkeys(each.reason for each in announcement.silent)
    facts = {
        "component": which,
        "status": "not evaluated" if stopped else "evaluated",
        "reason": ", ".join(reasons) or "evaluated_again",
        "why": why,
        "incident": announcement.outage.outage_id,
        "requested_by": "notifier",
    }
    subject, content = template.fill(facts)
    return Message(
        subject=subject,
        content=content,
        urgency=template.urgency,
        phase=f"{which}: {'stopped' if stopped else 'resumed'}",
        progress=0,
        eta="",
        outlook="bad" if stopped else "good",
        headline=HEADLINE,
    )


def _which(announcement: Announcement) -> str:
    partitions = announcement.outage.partitions
    if len(partitions) == announcement.of:
        return f"all {announcement.of} partitions" if announcement.of > 1 else "the only partition"
    names = _listed(str(number) for number in partitions)
    return f"partition{'s' if len(partitions) > 1 else ''} {names} of {announcement.of}"


def _why(silent: Iterable[Silent]) -> str:
    """The same words are said once, for all the partitions that they are true of."""
    said: dict[str, list[str]] = {}
    for each in silent:
        words = _WORDS[each.reason].format(
            instance=each.last.instance,
            heard=_clock(each.last.heard_at),
            evaluated=_clock(each.last.evaluated_at),
        )
        said.setdefault(words, []).append(str(each.partition))
    return "; ".join(f"{_listed(numbers)}: {words}" for words, numbers in said.items())


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(every[:_LISTED]) + more


def _clock(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S UTC")
