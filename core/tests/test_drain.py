"""An engine is drained only if nothing came while its queue was asked how much waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

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
