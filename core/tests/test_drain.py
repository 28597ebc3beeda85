"""An engine is drained only if nothing came while its queue was asked how much waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from core.tests.engine_fixture import EngineFixture, drain
from core.tests.scripted import BareConsumer, Source

from penstock.message import QueueMessage
from penstock.pipeline.drain import DrainDetector
from penstock.pipeline.in_flight import InFlight


def test_a_message_that_comes_during_the_count_is_work() -> None:
    """A server counts it no more once it is delivered, so the count alone would say that nothing is left."""
    in_flight = InFlight()

    async def lag() -> int:
        detector.received()
        in_flight.add([QueueMessage("7", b"")], 2.0)
        return 0

    source = SimpleNamespace(lag=lag, resolved=SimpleNamespace(capabilities=SimpleNamespace(lag=True)))
    detector = DrainDetector(cast("Any", source), in_flight)
    detector.found_empty(1.0)

    assert asyncio.run(detector.idle_since()) is None


class Uncounted(BareConsumer):
    """Of a server that cannot tell how many messages wait."""

    async def lag(self) -> int | None:
        return None


def test_a_queue_without_a_count_is_given_time() -> None:
    """A message may be on its way for longer than a look at a queue that counts takes."""
    called: list[Any] = []

    def arrives_late() -> None:
        asyncio.get_running_loop().call_later(0.3, source.add, b"1")

    source = Source(connect=[arrives_late])

    drain(EngineFixture().engine(called.append, source=source.queue(consumer=Uncounted)))

    assert called == [1]
