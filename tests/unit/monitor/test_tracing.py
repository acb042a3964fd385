"""Tracing as the settings ask for it; a receiver that is away holds nothing up."""

from __future__ import annotations

import builtins
import time
from typing import Any

import pytest

from chassis.errors import ConfigError
from chassis.settings import TracingSettings
from services.monitor.adapters.tracing import CarriedContexts, ExportedSpans, open_tracing
from services.monitor.domain.engine.outcomes import Evidence, Outcome
from services.monitor.domain.language.groups import Group
from tests.unit.monitor.engine_log import T0, rule

CONTEXT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = CONTEXT[:-1] + "0"
AWAY = TracingSettings(enabled=True, otlp_endpoint="http://127.0.0.1:9/v1/traces", export_timeout_s=0.5)


def outcome() -> Outcome:
    return Outcome(
        at=T0,
        rule=rule(),
        of=Group("c", ()),
        before="inactive",
        after="firing",
        reason="breach_began",
        kind="fired",
        value=1.0,
        began=T0,
        evidence=Evidence(0, 1, 3, 3),
    )


async def test_it_is_off_by_default() -> None:
    async with open_tracing(TracingSettings(), instance="one") as tracing:
        assert tracing is None


async def test_without_a_receiver_the_records_own_context_is_carried() -> None:
    async with open_tracing(TracingSettings(enabled=True), instance="one") as tracing:
        assert isinstance(tracing, CarriedContexts)
        each = outcome()
        with tracing.transaction([each], {each: (CONTEXT,)}) as carried:
            assert carried == [CONTEXT]
        with tracing.transaction([each], {}) as carried:
            assert carried == [None]


@pytest.mark.parametrize(("context", "flags"), [(CONTEXT, "01"), (UNSAMPLED, "00")])
async def test_a_span_is_of_the_records_trace_and_a_receiver_that_is_away_is_not_waited_for(
    context: str, flags: str
) -> None:
    each = outcome()
    async with open_tracing(AWAY, instance="one") as tracing:
        assert isinstance(tracing, ExportedSpans)
        began = time.monotonic()
        with tracing.transaction([each], {each: (context,)}) as (carried,):
            pass
        assert time.monotonic() - began < 0.4
        assert carried is not None
        version, trace, span, sampled = carried.split("-")
        assert (version, trace, sampled) == ("00", CONTEXT.split("-")[1], flags)
        assert span != CONTEXT.split("-")[2]


async def test_a_failed_transaction_is_raised_through_its_span() -> None:
    async with open_tracing(AWAY, instance="one") as tracing:
        assert tracing is not None
        with pytest.raises(ConnectionError), tracing.transaction([outcome()], {}):
            raise ConnectionError


async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(name)
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"backout\[tracing\]"):
        async with open_tracing(AWAY, instance="one"):
            pass
