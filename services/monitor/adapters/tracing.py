"""Spans that lead from the samples that decided to the event that tells of it.

Tracing is off unless the settings switch it on; then the trace context of the deciding record is
carried by the trigger event (CloudEvents' distributed tracing extension). Where the settings name a
receiver, too, each announcement is a span of its own, a child of that record's span and linked to
those of the records that it rests on; it lasts until its transaction is committed, and is exported
by OTLP over HTTP from a thread of its own. The event then carries the context of this span.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from chassis.errors import ConfigError
from chassis.settings import TracingSettings
from services.monitor.domain.engine.outcomes import Outcome
from services.monitor.handlers.ports import Traced

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import SpanContext

Traceparents = Sequence[str | None]
SERVICE_NAME = "backout-monitor"


class Tracing(Protocol):
    """Makes the contexts that events carry."""

    def transaction(
        self, outcomes: Sequence[Outcome], traced: Traced
    ) -> contextlib.AbstractContextManager[Traceparents]:
        """Around the transaction that tells of ``outcomes``: the context of each, None without one."""
        ...


class CarriedContexts:
    """Events carry the context of the record that decided."""

    @contextlib.contextmanager
    def transaction(self, outcomes: Sequence[Outcome], traced: Traced) -> Iterator[Traceparents]:
        contexts = [traced.get(outcome) for outcome in outcomes]
        yield [None if not found else found[0] for found in contexts]


class ExportedSpans:
    """Events carry the context of a span that is exported."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("backout.monitor")

    @contextlib.contextmanager
    def transaction(self, outcomes: Sequence[Outcome], traced: Traced) -> Iterator[Traceparents]:
        from opentelemetry.trace import Status, StatusCode

        spans = [self._span(outcome, traced.get(outcome, ())) for outcome in outcomes]
        try:
            yield [_traceparent(span.get_span_context()) for span in spans]
        except BaseException as error:
            for span in spans:
                span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
            raise
        finally:
            for span in spans:
                span.end()

    def _span(self, outcome: Outcome, contexts: Sequence[str]) -> Any:
        from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context

        remote = [_span_context(context) for context in contexts]
        parent = set_span_in_context(NonRecordingSpan(remote[0])) if remote else None
        attributes: Mapping[str, str | int] = {
            "messaging.system": "kafka",
            "backout.trigger": outcome.rule.name,
            "backout.trigger_id": outcome.trigger_id,
            "backout.component": outcome.component,
            "backout.kind": str(outcome.kind),
            "backout.reason": outcome.reason,
        }
        if outcome.evidence is not None:
            attributes = {
                **attributes,
                "messaging.destination.partition.id": str(outcome.evidence.partition),
                "backout.first_offset": outcome.evidence.first_offset,
                "backout.last_offset": outcome.evidence.last_offset,
            }
        return self._tracer.start_span(
            f"trigger {outcome.kind}",
            context=parent,
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            links=[Link(context) for context in remote],
        )


@contextlib.asynccontextmanager
async def open_tracing(settings: TracingSettings, *, instance: str) -> AsyncIterator[Tracing | None]:
    """What the settings ask for; None where tracing is off. What is not exported yet is at the end.

    Raises ConfigError where spans are to be exported and the extra ``tracing`` is not installed.
    """
    if not settings.enabled or settings.otlp_endpoint is None:
        yield CarriedContexts() if settings.enabled else None
        return
    provider = _provider(settings.otlp_endpoint, instance, settings.export_timeout_s)
    try:
        yield ExportedSpans(provider)
    finally:
        # It waits for the receiver, which may be away.
        await asyncio.to_thread(provider.shutdown)


def _provider(endpoint: str, instance: str, timeout_s: float) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(
            f"OpenTelemetry's exporter is not installed ({error})",
            place="BACKOUT_TRACING__OTLP_ENDPOINT",
            mend="Install backout[tracing], or leave the setting out",
        ) from error
    resource = Resource.create({"service.name": SERVICE_NAME, "service.instance.id": instance})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=timeout_s)))
    return provider


def _span_context(traceparent: str) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace_id, span_id, flags = traceparent.split("-")[:4]
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
