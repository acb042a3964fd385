"""What the second stage remembers, as records of its states topic: keys and JSON values.

``triggers/checkpoint``, ``triggers/member/<trigger id>``, ``triggers/episode/<name>`` and
``reports/checkpoint``, ``reports/episode/<name>``: each of the two stages has an owner of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import msgspec

from services.monitor.domain.compound.definitions import rule_from_definition
from services.monitor.domain.compound.member_stage import Shown
from services.monitor.domain.compound.members import Member
from services.monitor.domain.compound.outcomes import Episode, Part
from services.monitor.domain.compound.report_stage import ReportEpisode

Source = Literal["triggers", "reports"]


@dataclass(frozen=True, slots=True)
class StageCheckpoint:
    """How far a stage has come: ``next_offset`` is the next record to read. The others are the member
    stage's: the last second decided, and the greatest second shown."""

    next_offset: int
    evaluated: int | None = None
    shown: Shown | None = None


def checkpoint_key(source: Source) -> bytes:
    return f"{source}/checkpoint".encode()


def member_key(trigger_id: str) -> bytes:
    return f"triggers/member/{trigger_id}".encode()


def episode_key(source: Source, name: str) -> bytes:
    return f"{source}/episode/{name}".encode()


def is_of(source: Source, key: bytes) -> bool:
    """Whether a record belongs to the stage over ``source``."""
    return key.startswith(f"{source}/".encode())


def is_member(key: bytes) -> bool:
    return key.startswith(b"triggers/member/")


def checkpoint_bytes(checkpoint: StageCheckpoint) -> bytes:
    return msgspec.json.encode(asdict(checkpoint))


def read_checkpoint(value: bytes) -> StageCheckpoint:
    """Raises msgspec.ValidationError or DecodeError for anything else; so do the other readers, or
    KeyError or ValueError."""
    return msgspec.json.decode(value, type=StageCheckpoint)


def member_bytes(member: Member) -> bytes:
    return msgspec.json.encode(asdict(member))


def read_member(value: bytes) -> Member:
    return msgspec.json.decode(value, type=Member)


def episode_bytes(episode: Episode) -> bytes:
    return msgspec.json.encode(_episode(episode))


def read_episode(value: bytes) -> Episode:
    fields: dict[str, Any] = msgspec.json.decode(value)
    return _read_episode(fields)


def report_episode_bytes(running: ReportEpisode) -> bytes:
    fields = {
        "episode": _episode(running.episode),
        "parts": [asdict(part) for part in running.parts],
        "count": running.count,
        "until": running.until,
    }
    return msgspec.json.encode(fields)


def read_report_episode(value: bytes) -> ReportEpisode:
    fields: dict[str, Any] = msgspec.json.decode(value)
    parts = tuple(msgspec.convert(part, Part) for part in fields["parts"])
    return ReportEpisode(_read_episode(fields["episode"]), parts, fields["count"], fields["until"])


def _episode(episode: Episode) -> dict[str, Any]:
    return {
        "rule": episode.rule.definition(),
        "parts": [asdict(part) for part in episode.parts],
        "began": episode.began,
        "fired": episode.fired,
        "announced": episode.announced,
    }


def _read_episode(fields: dict[str, Any]) -> Episode:
    parts = tuple(msgspec.convert(part, Part) for part in fields["parts"])
    rule = rule_from_definition(fields["rule"])
    return Episode(rule, parts, fields["began"], fields["fired"], fields["announced"])
