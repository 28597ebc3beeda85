"""The loop of an engine: how far ahead it fetches, how it keeps leases, how it lives with a broker that is away."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from typing import Any

import pytest
from core.tests.engine_fixture import (
    TIMEOUT,
    EngineFixture,
    drain,
    echo,
    for_a_while,
    running,
    until,
)
from core.tests.scripted import BareConsumer, Sink, Source, source_of

from penstock.message import QueueMessage

# -- max_in_flight


@pytest.mark.parametrize("form", ["sync", "async", "batch"])
def test_max_in_flight_holds_while_the_function_is_blocked(stand: EngineFixture, form: str) -> None:
    """No more is fetched, however long it takes; afterwards everything is done."""
    source, go = source_of(300), threading.Event()

    def function(number: Any) -> Any:
        assert go.wait(30)
        return ("out", number) if form == "sync" else [("out", each) for each in number]

    async def asynchronous(number: int) -> Any:
        while not go.is_set():
            await asyncio.sleep(0.01)
        return "out", number

    async def main() -> None:
        engine = stand.engine(
            asynchronous if form == "async" else function,
            source=source.queue(batch=form == "batch"),
            max_in_flight=25,
            concurrency=2,
        )
        async with running(engine):
            await until(lambda: source.held)
            await for_a_while(0.4, lambda: len(source.held) > 25)
            go.set()
            await until(lambda: len(source.settled()) == 300)

    asyncio.run(main())

    assert sorted(stand.bodies()) == sorted(b"%d" % number for number in range(300))


def test_max_in_flight_of_one_is_one_message_at_a_time(stand: EngineFixture) -> None:
    """Consumed, called, sent and settled before the next is fetched."""
    source, sink = source_of(20), Sink()

    drain(stand.engine(echo, source=source.queue(), targets=[sink.queue()], max_in_flight=1))

    steps = [name for name, _ in source.calls if name == "on_success"]
    assert len(steps) == 20
    assert set(source.asked) == {1}
    assert sink.bodies == [b"%d" % number for number in range(20)]


def test_max_in_flight_bytes_holds_for_large_bodies(stand: EngineFixture) -> None:
    """The limit counts in bytes too: a few large messages, not ten thousand of them."""
    body = b'"' + b"x" * 100_000 + b'"'
    source, go = Source([body] * 200), threading.Event()

    def function(text: str) -> None:
        assert go.wait(30)

    async def main() -> None:
        engine = stand.engine(function, [], source=source.queue(), max_in_flight_bytes="2MB")
        async with running(engine):
            await until(lambda: source.held)
            # The first fetch cannot know the size: at most that many more.
            await for_a_while(0.4, lambda: len(source.held) > 20 + 16)
            go.set()
            await until(lambda: len(source.settled()) == 200)

    asyncio.run(main())


def test_memory_is_flat_while_an_output_blocks(stand: EngineFixture) -> None:
    """Back-pressure instead of a heap: what is not fetched takes no memory."""
    body = b'"' + b"x" * 1_000 + b'"'
    sink = Sink()
    sink.open.clear()
    made = 0

    class Endless(BareConsumer):
        async def consume(self, max_messages: int, timeout: float) -> Any:
            del timeout
            nonlocal made
            made += max_messages
            await asyncio.sleep(0)
            return [QueueMessage(number, body) for number in range(max_messages)]

        async def on_success(self, messages: Any) -> None:
            del messages

    async def main() -> None:
        engine = stand.engine(echo, source=Source().queue(consumer=Endless), targets=[sink.queue()], max_in_flight=500)
        async with running(engine, shutdown_timeout=0.2):
            await until(lambda: made >= 500)
            tracemalloc.start()
            await for_a_while(0.5, lambda: made > 500)
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert grown < 200_000
            sink.open.set()
            await until(lambda: made > 5_000)

    asyncio.run(main())


def test_a_client_that_must_be_polled_is_polled_while_there_is_no_room(stand: EngineFixture) -> None:
    """consume(0, …) keeps it in its group; it is not asked for messages it may not have."""
    source, go = source_of(10), threading.Event()

    class Polled(BareConsumer):
        keep_polling = True

    async def main() -> None:
        engine = stand.engine(
            lambda _: go.wait(30), [], source=source.queue(consumer=Polled), max_in_flight=3, concurrency=3
        )
        async with running(engine):
            await until(lambda: source.asked.count(0) >= 3)
            assert len(source.held) == 3
            go.set()
            await until(lambda: len(source.settled()) == 10)

    asyncio.run(main())


def test_it_is_polled_too_while_messages_are_settled_and_there_is_no_room_yet(stand: EngineFixture) -> None:
    """A large window that a function works off slowly: each settlement is not a reason to leave the client alone."""
    source, steps = source_of(400), threading.Semaphore(300)

    class Polled(BareConsumer):
        keep_polling = True

    def function(number: int) -> None:
        assert steps.acquire(timeout=TIMEOUT)

    async def main() -> None:
        async with running(stand.engine(function, [], source=source.queue(consumer=Polled))):
            await until(lambda: len(source.settled()) == 300)
            # From here on slower than 10 calls a second would be polled; the window is as large as it got.
            asked = len(source.asked)
            while len(source.asked) < asked + 3:
                assert len(source.held) > 0, "it was not polled before all was done"
                steps.release()
                await asyncio.sleep(0.02)
            for _ in range(400):
                steps.release()

    asyncio.run(main())
