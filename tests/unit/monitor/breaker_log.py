"""Breakers over a log: the real engine with the rules of the checks, and the breakers behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.monitor.domain.breakers.breaker import BreakerTerms, CheckName, Fallback
from services.monitor.domain.breakers.breaker_memory import is_breaker_key, read_breaker
from services.monitor.domain.breakers.breaker_plan import BreakerPlan, BreakerPlans, Check
from services.monitor.domain.breakers.breakers import Breakers, Decision, Removal, begun_anew
from services.monitor.domain.engine.engine import PartitionEngine
from services.monitor.domain.engine.intake import Intake
from services.monitor.domain.engine.memory import read_checkpoint
from services.monitor.domain.language.rules import Rule
from tests.unit.monitor.engine_log import Stored, cut, recall, stored
from tests.unit.monitor.reference import LogRecord

TERMS = BreakerTerms(
    open_for=20, probe_for=10, probe_share=0.25, flap_within=60, open_at_most=70, quiet_for=200
)
FALLBACKS = (
    Fallback("single_node", frozenset({"consensus"})),
    Fallback("cached", frozenset({"response_time", "error_rate"})),
    Fallback("reject", frozenset({"response_time", "error_rate", "accuracy", "consensus"})),
)


def plans(
    checks: dict[CheckName, Rule], terms: BreakerTerms = TERMS, fallbacks: tuple[Fallback, ...] = FALLBACKS
) -> BreakerPlans:
    """The same plan for every component."""
    read: dict[CheckName, Check] = {name: Check.of(name, rule, None) for name, rule in checks.items()}
    return BreakerPlans(BreakerPlan(terms, read, fallbacks))


@dataclass
class Owner:
    """One owner of a partition after another; what it remembers passes through its bytes."""

    plans: BreakerPlans
    rules: Sequence[Rule] = ()
    lateness: float = 0.0
    states: dict[bytes, bytes] = field(default_factory=dict)
    told: list[Decision | Removal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin()

    def take(self, records: Sequence[Stored]) -> list[Decision]:
        outcomes = self.engine.advance(Intake(self.engine.series).read(records).columns)
        decided = self.breakers.advance(outcomes, self.engine.evaluated_through)
        self.told += decided
        return decided

    def restart(self, log: Sequence[Stored], taken: int, plans: BreakerPlans | None = None) -> None:
        """Hand over to another process, which may have other plans; ``taken`` records were read."""
        for key, value in {**self.engine.changes(), **self.breakers.changes()}.items():
            if value is None:
                self.states.pop(key, None)
            else:
                self.states[key] = value
        next_offset = log[taken - 1].offset + 1 if taken else 0
        checkpoint = read_checkpoint(self.engine.checkpoint(next_offset, partitions=1).to_bytes())
        self.plans = plans or self.plans
        self._begin()
        memories = [read_breaker(value) for key, value in self.states.items() if is_breaker_key(key)]
        recall(
            self.engine,
            checkpoint,
            self.states,
            anew=lambda phases: begun_anew(self.plans, phases, memories),
        )
        # Another window may be longer than what a checkpoint of the former rules asks for.
        begin = checkpoint.replay_from if plans is None else 0
        again = [record for record in log[:taken] if begin <= record.offset < next_offset]
        self.engine.replay(Intake(self.engine.series).read(again).columns)
        self.told += self.breakers.recall(memories, self.engine.evaluated_through)

    def _begin(self) -> None:
        rules = (*self.rules, *self.plans.rules)
        self.engine = PartitionEngine(rules, allowed_lateness=self.lateness)
        self.breakers = Breakers(self.plans)


def decide(
    of: BreakerPlans,
    log: Sequence[LogRecord],
    *,
    lateness: float = 0.0,
    portions: Sequence[int] = (),
    restarts: bool = False,
) -> list[Decision | Removal]:
    """The decisions on ``log``, fed in portions; with ``restarts``, each by another process."""
    owner = Owner(of, lateness=lateness)
    records = [stored(record) for record in log]
    taken = 0
    for portion in cut(records, portions):
        owner.take(portion)
        taken += len(portion)
        if restarts:
            owner.restart(records, taken)
    return owner.told
