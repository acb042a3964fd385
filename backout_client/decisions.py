"""The latest decisions in memory, and the answer to "may this call take its ordinary way?".

An answer is a look-up, a comparison of the clock, and one of a few values made beforehand: it is
given on the path of every request. Whoever is asked while the decisions are stale says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from typing import Literal

from backout_client.reading import Alive, Decided, Removed, State

WhenStale = Literal["open", "closed"]
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one call.

    ``allowed``: it may take its ordinary way; otherwise do ``fallback`` (None: none is named).
    ``reason`` is ``closed``, ``open``, ``probe`` (let through to see how it goes), ``probing``
    (others are), ``unknown_component``, ``stale`` or ``not_read_yet``; ``why`` is it in words.
    ``state`` is the breaker's, as configured where the decision is stale. ``since`` is in epoch
    seconds, None where nothing is known.
    """

    allowed: bool
    state: State
    fallback: str | None
    reason: str
    why: str
    since: float | None = None

    @property
    def is_stale(self) -> bool:
        return self.reason in ("stale", "not_read_yet")


@dataclass(slots=True)
class _Pulse:
    """Until when (on the monotonic clock) a partition's owner counts as alive."""

    fresh_until: float = _NEVER


@dataclass(slots=True)
class _Entry:
    """A component's answers, made when its decision arrives. ``probes`` of ``of`` calls are probes (0:
    the state is not half-open); ``calls`` counts them from 0, over all threads."""

    pulse: _Pulse
    usual: Decision
    probe: Decision
    stale: Decision
    probes: int = 0
    of: int = 1
    calls: Iterator[int] = field(default_factory=count)


@dataclass(frozen=True, slots=True)
class Taken:
    """A record that was written at ``written`` (epoch seconds), ``age_s`` seconds ago."""

    item: Decided | Alive | Removed
    written: float
    age_s: float


@dataclass(slots=True)
class Decisions:
    """What was read of the topic, and the answers that follow from it.

    ``stale_after_s`` is how long a sign of life counts, ``max_behind_s`` how far its evaluation may
    be behind the time it was written (None: however far). ``stale_fallback`` is for a component
    that nothing is known of; otherwise its last fallback holds.
    """

    when_stale: WhenStale
    stale_after_s: float
    max_behind_s: float | None = None
    stale_fallback: str | None = None
    monotonic: Callable[[], float] = time.monotonic
    read_once: bool = False
    """Whether the topic was read to its end."""
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _pulses: dict[int, _Pulse] = field(default_factory=dict)
    _any: _Pulse = field(default_factory=_Pulse)
    _stale: Decision = field(init=False)
    _not_read: Decision = field(init=False)

    def decide(self, component: str) -> Decision:
        """What to do with a call of ``component`` now. Waits for nothing and raises nothing."""
        entry = self._entries.get(component)
        if entry is None:
            return self._unknown()
        if self.monotonic() >= entry.pulse.fresh_until:
            return entry.stale
        # Whole numbers spread any share evenly and lose nothing; the first call is a probe, since a
        # quiet component must not wait for its tenth.
        if entry.probes and next(entry.calls) * entry.probes % entry.of < entry.probes:
            return entry.probe
        return entry.usual

    def take(self, taken: Taken) -> None:
        """Note one record."""
        self._note(self._entries, taken)

    def replace(self, every: Iterable[Taken]) -> None:
        """Have the records of the whole topic in place of every decision; signs of life stay. Who asks
        meanwhile, in another thread, is answered by the former ones, or by the new ones."""
        entries: dict[str, _Entry] = {}
        for taken in every:
            self._note(entries, taken)
        self._entries = entries

    def age_s(self) -> float | None:
        """Seconds since the newest sign of life; None before any."""
        if self._any.fresh_until == _NEVER:
            return None
        return self.monotonic() - (self._any.fresh_until - self.stale_after_s)

    def components(self) -> dict[str, State]:
        """Every component that a decision is known of, with the state that was decided last."""
        # Whole at once: the thread that reads may add one meanwhile.
        return {name: entry.usual.state for name, entry in list(self._entries.items())}

    def _note(self, entries: dict[str, _Entry], taken: Taken) -> None:
        item = taken.item
        if isinstance(item, Removed):
            entries.pop(item.component, None)
        elif isinstance(item, Decided):
            entries[item.component] = self._entry(item)
        elif self.max_behind_s is None or taken.written - item.through <= self.max_behind_s:
            self._note_alive(item.partition, taken.age_s)

    def _note_alive(self, partition: int, age_s: float) -> None:
        fresh_until = self.monotonic() - age_s + self.stale_after_s
        for pulse in (self._pulse(partition), self._any):
            pulse.fresh_until = max(pulse.fresh_until, fresh_until)

    def _pulse(self, partition: int) -> _Pulse:
        return self._pulses.setdefault(partition, _Pulse())

    def _entry(self, item: Decided) -> _Entry:
        usual = probe = Decision(
            item.state == "closed", item.state, item.fallback, item.state, item.why, item.since
        )
        share = Fraction(0)
        if item.state == "half_open":
            usual = Decision(False, "half_open", item.fallback, "probing", item.why, item.since)
            probe = Decision(True, "half_open", item.fallback, "probe", item.why, item.since)
            # As it is written: 0.1 is a tenth, which the floating-point number is not.
            share = Fraction(repr(item.probe_share))
        why = (
            f"no sign of life of the monitor for {self.stale_after_s:g} s; the last decision was {item.state}"
        )
        allowed = self.when_stale == "closed"
        fallback = None if allowed else item.fallback or self.stale_fallback
        stale = Decision(allowed, self.when_stale, fallback, "stale", f"{why}: {item.why}", item.since)
        pulse = self._pulse(item.partition)
        return _Entry(pulse, usual, probe, stale, probes=share.numerator, of=share.denominator)

    def _unknown(self) -> Decision:
        if self.monotonic() < self._any.fresh_until and self.read_once:
            return _UNKNOWN
        return self._stale if self.read_once else self._not_read

    def __post_init__(self) -> None:
        allowed = self.when_stale == "closed"
        fallback = None if allowed else self.stale_fallback
        why = f"no sign of life of the monitor for {self.stale_after_s:g} s, and no decision is known"
        self._stale = Decision(allowed, self.when_stale, fallback, "stale", why)
        why = "the breakers topic has not been read to its end yet"
        self._not_read = Decision(allowed, self.when_stale, fallback, "not_read_yet", why)


_UNKNOWN = Decision(
    True,
    "closed",
    None,
    "unknown_component",
    "the monitor has decided nothing about it: it has not seen its metrics, or it has no breaker",
)
