"""Regular work of the service's own: a self-probe every two seconds, and the samples every second."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

from examples.docrag.accuracy import accuracy
from examples.docrag.control import ControlPlane
from examples.docrag.corpus import KnownFile
from examples.docrag.eventlog import EventLog
from examples.docrag.extraction import ExtractionFailed, Extractors, NoExtractor, UnreadableDocument, plan_for
from examples.docrag.measure import Meter, memory_mb
from examples.docrag.publish import Publisher
from examples.docrag.routing import COMPONENT, ConfigurationError

PROBE_EVERY_S = 2.0
PUBLISH_EVERY_S = 1.0


class Probe:
    """Extracts the known files in turn with whatever is routed to, so that accuracy is always known."""

    def __init__(
        self,
        control: ControlPlane,
        extractors: Extractors,
        files: Sequence[KnownFile],
        meter: Meter,
        events: EventLog,
    ) -> None:
        self._control = control
        self._extractors = extractors
        self._files = itertools.cycle(files)
        self._meter = meter
        self._events = events

    async def once(self) -> None:
        """Extract the next known file and note how well and how fast that went."""
        known = next(self._files)
        try:
            plan = plan_for(self._control.configuration())
            extraction = await self._extractors.extract(known.content, known.name, plan)
        except (NoExtractor, ConfigurationError) as error:
            # Nothing can be said about accuracy then; /readyz and uploads tell the fault.
            self._events.emit(COMPONENT, "WARN", "self-probe found no extractor", error=str(error))
        except (ExtractionFailed, UnreadableDocument) as error:
            self._meter.accuracy(time.time(), 0.0)
            self._events.emit(COMPONENT, "ERROR", "self-probe failed", file=known.name, error=str(error))
        else:
            now = time.time()
            self._meter.extraction(now, extraction.seconds_per_page)
            self._meter.accuracy(now, accuracy(known.text, extraction.text))


async def publish_samples(meter: Meter, publisher: Publisher) -> None:
    """Publish what the meter holds now."""
    for batch in meter.batches(time.time(), memory_mb()):
        publisher.samples(batch)


async def every(period_s: float, action: Callable[[], Awaitable[None]]) -> None:
    """Call an action at a fixed rate, for ever. A call that outlasts the period delays the next."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        await action()
        due = max(due + period_s, loop.time())
        await asyncio.sleep(due - loop.time())
