"""A timer as an input: ticks that are settled, missed, requeued, and made by one worker of several."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from penstock import Engine
from penstock.message import QueueMessage
from penstock_timer.consumer import TimerConsumer
from penstock_timer.options import TimerOptions

WAIT = 30.0  # seconds that a tick may take on a busy machine; it takes a fraction of one


@asynccontextmanager
async def timer(**options: Any) -> AsyncIterator[TimerConsumer]:
    consumer = TimerConsumer("clock", TimerOptions(**options))
    await consumer.connect()
    try:
        yield consumer
    finally:
        await consumer.shutdown()


def place(path: Path, last: float) -> str:
    """The file of a worker that settled its last tick at that time."""
    path.write_text(json.dumps({"place": {"last": last}, "settled": []}))
    return str(path)


def said(messages: Sequence[QueueMessage]) -> list[dict[str, Any]]:
    return [json.loads(message.message or b"") for message in messages]


def test_ticks_come_one_after_the_other() -> None:
    """Each at a multiple of the interval, none before its time, and none while one is unsettled."""

    async def main() -> None:
        async with timer(every=0.2) as consumer:
            before = 0.0
            for _ in range(3):
                [tick] = await consumer.consume(10, WAIT)
                assert tick.timestamp is not None
                assert before < tick.timestamp <= time.time()
                assert round(tick.timestamp / 0.2, 6) % 1 == 0
                assert await consumer.consume(10, 0.5) == []
                await consumer.on_success([tick])
                before = tick.timestamp

    asyncio.run(main())


def test_one_tick_makes_up_for_those_that_were_missed(tmp_path: Path) -> None:
    """It says how many there were."""

    async def main() -> None:
        now = time.time()
        async with timer(every=3600, state=place(tmp_path / "place", now - 10 * 3600)) as consumer:
            [tick] = said(await consumer.consume(10, WAIT))
            assert tick["missed"] in (9, 10)

    asyncio.run(main())


def test_missed_ticks_are_skipped_if_that_is_wanted(tmp_path: Path) -> None:
    """The next one comes at its time."""

    async def main() -> None:
        state = place(tmp_path / "place", time.time() - 10 * 86400)
        async with timer(cron="0 0 1 1 *", missed="skip", state=state) as consumer:
            assert await consumer.consume(10, 0.2) == []

    asyncio.run(main())


def test_each_missed_tick_is_delivered_if_that_is_wanted(tmp_path: Path) -> None:
    """The newest ones, in their order, and they may be settled in any order."""
    path = tmp_path / "place"

    async def main() -> None:
        state = place(path, time.time() - 100 * 3600)
        async with timer(every=3600, missed="all", max_missed=5, state=state) as consumer:
            ticks = await consumer.consume(10, WAIT)
            times = [tick.timestamp or 0.0 for tick in ticks]
            assert [b - a for a, b in itertools.pairwise(times)] == [3600.0] * 4
            await consumer.on_success(ticks[1:])
        async with timer(every=3600, missed="all", max_missed=5, state=str(path)) as consumer:
            assert not {tick.timestamp for tick in await consumer.consume(10, 1.0)} & set(times[1:])

    asyncio.run(main())


def test_a_tick_that_failed_comes_again() -> None:
    """The same one, with one attempt more."""

    async def main() -> None:
        async with timer(every=0.1) as consumer:
            [tick] = await consumer.consume(1, WAIT)
            await consumer.on_fail([tick], delay=0.2)
            [again] = await consumer.consume(1, WAIT)
            assert (again.position, again.attempts, again.message) == (tick.position, 2, tick.message)

    asyncio.run(main())


def test_a_tick_of_a_worker_that_died_comes_again(tmp_path: Path) -> None:
    """Also the very first one: the start is stored before it. The process's death is a consumer that never closes."""
    path = tmp_path / "place"

    async def main() -> None:
        async with timer(every=0.1, state=str(path)) as consumer:
            [tick] = await consumer.consume(1, WAIT)
            left = path.read_text()
        path.write_text(left)  # as after a `kill -9` in the middle of the function
        async with timer(every=0.1, state=str(path)) as consumer:
            [again] = await consumer.consume(1, WAIT)
            assert (again.timestamp or 0) >= (tick.timestamp or 0)
            assert json.loads(left)["place"]["last"] < (tick.timestamp or 0)

    asyncio.run(main())


def test_one_of_two_workers_ticks(tmp_path: Path) -> None:
    """The other one takes over when it stops."""
    state = str(tmp_path / "place")

    async def main() -> None:
        async with timer(every=0.1, state=state) as second_in_line:
            pass
        async with timer(every=0.1, state=state) as first:
            second_in_line = TimerConsumer("clock", TimerOptions(every=0.1, state=state))
            await second_in_line.connect()
            [tick] = await first.consume(1, WAIT)
            assert await second_in_line.consume(1, 0.5) == []
            await first.on_success([tick])
        [following] = await second_in_line.consume(1, WAIT)
        assert (following.timestamp or 0) > (tick.timestamp or 0)
        await second_in_line.shutdown()

    asyncio.run(main())


def test_an_engine_runs_a_function_at_each_tick(tmp_path: Path) -> None:
    """The function gets the time, and what it returns goes on."""
    queues = {
        "clock": {"connector": "timer", "config": {"every": 0.1}, "data_model": None},
        "hours": {"connector": "memory", "config": {"namespace": str(tmp_path)}},
    }
    app = Engine("clock", ["hours"], queue_config=queues, metrics_port=None)
    seen: list[str] = []

    @app.stream_app
    async def work(tick: dict[str, Any]) -> None:
        seen.append(tick["at"])
        if len(seen) == 3:
            enough.set()

    async def main() -> None:
        serving = asyncio.create_task(app.serve())
        await asyncio.wait_for(enough.wait(), WAIT)
        serving.cancel()
        await asyncio.wait([serving])

    enough = asyncio.Event()
    asyncio.run(main())
    assert len(set(seen)) >= 3
