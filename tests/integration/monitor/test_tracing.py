"""From the trace of a sample's record to the trigger event, and spans to a real OTLP receiver."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from chassis.kafka import Kafka
from chassis.settings import Settings
from schemas.envelope import Event
from schemas.registry import read_event
from schemas.triggers import TriggerEvent
from tests.integration.monitor.foreign import Foreign
from tests.integration.monitor.monitor_process import running_monitor
from tests.integration.monitor.stage import Stage, configure, sample
from tests.polling import eventually
from tests.unit.monitor.ingest.requests import gauge, number, request

RULES = "triggers: [{name: slow, metric: ms, when: '> 100', for: 2s, staleness: 30s}]\n"
FIRST = "00-11111111111111111111111111111111-aaaaaaaaaaaaaaaa-01"
LAST = "00-22222222222222222222222222222222-bbbbbbbbbbbbbbbb-01"
ENABLED = {"BACKOUT_TRACING__ENABLED": "true"}


class Receiver:
    """An OTLP receiver over HTTP: keeps the spans that it is sent, with their resource's service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        self.url = ""

    async def take(self, asked: web.Request) -> web.Response:
        body = ExportTraceServiceRequest.FromString(await asked.read())
        for resource in body.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [(names["service.name"], span) for span in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    yield made
    await runner.cleanup()


async def publish_breach(stage: Stage, kafka: Kafka) -> None:
    """Three breaching samples, the first and the last with a context, and one that moves time."""
    began = int(time.time()) - 100
    for second, context in ((0, FIRST), (1, None), (2, LAST), (5, None)):
        headers = [] if context is None else [("traceparent", context.encode())]
        value = sample("ms", "c", 500, began + second)
        await stage.producer.send(kafka.topic("metrics"), value, key=b"c", headers=headers)


async def events(stage: Stage) -> list[Event[TriggerEvent]]:
    found = [read_event(record.value) for record in await stage.records("triggers")]
    return [event for event in found if isinstance(event.data, TriggerEvent)]  # type: ignore[misc]


def has_fired(stage: Stage) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return bool(await events(stage))

    return asked


async def test_without_tracing_no_header_is_carried(stage: Stage, settings: Settings, kafka: Kafka) -> None:
    configure(stage.directory, RULES)
    with running_monitor(settings, stage.directory) as monitor:
        await publish_breach(stage, kafka)
        await eventually(has_fired(stage), what="the trigger fires")
        assert await monitor.stop() == 0, monitor.log
    assert (await events(stage))[0].traceparent is None


async def test_spans_lead_from_the_samples_to_the_event(
    stage: Stage, settings: Settings, kafka: Kafka, receiver: Receiver
) -> None:
    configure(stage.directory, RULES)
    variables = {**ENABLED, "BACKOUT_TRACING__OTLP_ENDPOINT": receiver.url}
    with running_monitor(settings, stage.directory, environment=variables) as monitor:
        await publish_breach(stage, kafka)
        await eventually(has_fired(stage), what="the trigger fires")
        # What is not exported yet is exported at the stop.
        assert await monitor.stop() == 0, monitor.log
    (event, *_) = await events(stage)
    service, span = next(each for each in receiver.spans if each[1].name == "trigger fired")
    assert service == "backout-monitor"
    assert span.trace_id.hex() == LAST.split("-")[1]
    assert span.parent_span_id.hex() == LAST.split("-")[2]
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in span.links] == [
        tuple(context.split("-")[1:3]) for context in (LAST, FIRST)
    ]
    attributes = {each.key: each.value.string_value for each in span.attributes}
    assert attributes["backout.trigger_id"] == event.data.trigger_id
    assert event.traceparent == f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"


async def test_the_context_of_a_foreign_record_comes_to_the_event(stage: Stage, settings: Settings) -> None:
    """Without a receiver of spans, events carry the context of the record itself."""
    configure(stage.directory, RULES.replace("for: 2s, ", ""))
    foreign = await Foreign.create(stage)
    value = request(gauge("ms", number(500.0, at=time.time() - 5)), service_name="c")
    with running_monitor(settings, stage.directory, environment=foreign.environment(**ENABLED)) as monitor:
        headers = [("traceparent", LAST.encode())]
        await stage.producer.send(foreign.topic, value, key=b"k", headers=headers)
        await eventually(has_fired(stage), what="the trigger fires")
        assert await monitor.stop() == 0, monitor.log
    assert (await events(stage))[0].traceparent == LAST
