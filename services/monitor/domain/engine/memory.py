"""What the monitor remembers of a partition, as values: phases and a checkpoint.

A restart reads these and the samples from ``replay_from`` on, and goes on as if it had never
stopped.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from services.monitor.domain.engine.prediction_checkpoint import PredictionCheckpoint
from services.monitor.domain.language.groups import Group
from services.monitor.domain.language.phases import State
from services.monitor.domain.language.rules import Rule, labels_digest, rule_from_definition

CHECKPOINT_KEY = b"checkpoint"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a partition has been evaluated.

    ``evaluated_through`` is the last second evaluated (None, and so are the times shown: there was
    no sample yet) and ``evaluated_offset`` the record whose
    time made it due: a late sample after it counts from the next second on. ``next_offset`` is
    the next record to read, ``replay_from`` the smallest offset that any window still needs.
    ``shown_time`` is the greatest time shown and ``shown_append`` the append time of the record
    that showed it. ``predicted`` is where predictions go on (None: they begin). Times are epoch seconds.
    """

    evaluated_through: int | None
    evaluated_offset: int
    next_offset: int
    replay_from: int
    shown_time: float | None
    shown_append: float | None
    rules_hash: str
    partitions: int
    predicted: PredictionCheckpoint | None = None

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(asdict(self))


@dataclass(frozen=True, slots=True)
class Remembered:
    """The phase of one trigger on one group, with the definition it was decided by.

    ``born`` is the first second that counted a sample: before it there was nothing whose data
    could be missing. ``figures`` are what the component's release has fixed for each check, if anything.
    """

    rule: Rule
    of: Group
    state: State
    born: int
    first_offset: int
    last_offset: int
    figures: tuple[float | None, ...] = ()

    @property
    def key(self) -> bytes:
        return state_key(self.rule.name, self.of)

    def to_bytes(self) -> bytes:
        return msgspec.json.encode(
            {
                "rule": msgspec.Raw(self.rule.encoded),
                "rule_hash": self.rule.hash,
                "component": self.of.component,
                "labels": dict(self.of.labels),
                "born": self.born,
                "first_offset": self.first_offset,
                "last_offset": self.last_offset,
                "baseline": next(iter(self.figures), None),
                "further_baselines": self.figures[1:],
                **self.state._asdict(),
                # More bits than a JSON reader's whole numbers have.
                "history": f"{self.state.history:x}",
            }
        )


def state_key(trigger: str, group: Group) -> bytes:
    """The key of a state on the states topic; names hold no slash."""
    further = f"/{labels_digest(group)}" if group.labels else ""
    return f"state/{trigger}/{group.component}{further}".encode()


def read_checkpoint(value: bytes) -> Checkpoint:
    """Raises msgspec.ValidationError or DecodeError for anything else."""
    return msgspec.json.decode(value, type=Checkpoint)


def read_remembered(value: bytes) -> Remembered:
    """Raises msgspec.DecodeError, KeyError or ValueError for anything else."""
    fields: dict[str, Any] = msgspec.json.decode(value)
    fields["history"] = int(fields["history"], 16)
    state = msgspec.convert([fields[name] for name in State._fields], State)
    rule = rule_from_definition(fields["rule"])
    return Remembered(
        rule=rule,
        of=Group(fields["component"], tuple(sorted(fields["labels"].items()))),
        state=state,
        born=fields["born"],
        first_offset=fields["first_offset"],
        last_offset=fields["last_offset"],
        # Earlier versions wrote none, or that of the first check alone.
        figures=(
            fields.get("baseline"),
            *fields.get("further_baselines", (None,) * len(rule.further)),
        ),
    )
