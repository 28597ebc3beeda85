"""The middleware `rate_limit`: what waits, waits in its queue."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from pydantic import ValidationError

from penstock.builtin.rate_limit import RateLimit
from penstock.engine import Engine
from penstock.middleware import Limit, Middleware
from penstock.testing import Harness

from .engine_fixture import EngineFixture, running, until


def harness_engine(*middleware: Any) -> Engine:
    """An engine from "in" to nothing."""
    app = Engine("in", queue_config={"in": {"connector": "memory"}}, middleware=list(middleware))
    app.stream_app(lambda _number: None)
    return app


@pytest.mark.parametrize(
    ("rate", "burst", "count", "seconds"), [(10, 1, 21, 2), (100, 20, 220, 2), (100, 1, 201, 2), (0.5, 1, 3, 4)]
)
def test_messages_come_at_the_rate(rate: float, burst: int, count: int, seconds: float) -> None:
    """After the burst. By the harness's clock; the engine looks at its queue once more when there is room again."""
    with Harness(harness_engine(RateLimit(per_second=rate, burst=burst))) as harness:
        for number in range(count):
            harness.send("in", number)
        harness.run()

        assert harness.succeeded == count
        assert seconds * 0.99 <= harness.elapsed <= seconds * 1.05 + 1 / rate + 0.1


def test_the_strictest_limit_counts() -> None:
    """Of several; a third party's is one of them."""

    class Closed(Middleware):
        def limit(self, engine: Any) -> Limit:  # noqa: ARG002
            return _Steps()

    class _Steps:
        def room(self, now: float) -> int:  # noqa: ARG002
            return 1

        def due_in(self, now: float) -> float:  # noqa: ARG002
            return 0.0

        def took(self, count: int, now: float) -> None:  # noqa: ARG002
            counts.append(count)

    counts: list[int] = []
    with Harness(harness_engine(RateLimit(per_second=1000), Closed())) as harness:
        for number in range(5):
            harness.send("in", number)
        harness.run()

    assert counts == [1] * 5


def test_what_waits_is_not_in_flight_and_a_stop_does_not_wait_for_it() -> None:
    """It stays in its queue, so its lease does not run and another worker may take it."""
    stand = EngineFixture()
    stand.numbers(5)

    async def main() -> None:
        engine = stand.engine(lambda _number: None, [], middleware=[RateLimit(per_second=0.001, burst=2)])
        async with running(engine) as run:
            await until(lambda: engine.pipeline is not None and engine.pipeline.done == 2)
            assert engine.pipeline is not None
            assert engine.pipeline.in_flight == 0
            began = time.monotonic()
            run.worker.stop()
            await run.ended()
            assert time.monotonic() - began < 5

    asyncio.run(main())

    assert len(stand.bodies("in")) == 3


def test_each_engine_has_its_own_tokens() -> None:
    """Even where both are given one object."""
    limit = RateLimit(per_second=0.001, burst=1)
    stands = EngineFixture(), EngineFixture()

    async def main() -> None:
        engines = [stand.engine(lambda _number: None, [], middleware=[limit]) for stand in stands]
        for stand in stands:
            stand.numbers(1)
        async with running(*engines) as run:
            await until(lambda: all(engine.pipeline is not None and engine.pipeline.done == 1 for engine in engines))
            run.worker.stop()
            await run.ended()

    asyncio.run(main())


@pytest.mark.parametrize("options", [{}, {"per_second": 0}, {"per_second": 1, "burst": 0}, {"per_second": 1, "x": 1}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    """Where they are written."""
    with pytest.raises(ValidationError):
        RateLimit(**options)
