"""What the consumer and the producer promise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from penstock.errors import ConnectorError, ProduceError
from penstock.message import QueueMessage, Record
from penstock_memory.consumer import MemoryConsumer
from penstock_memory.options import MemoryOptions
from penstock_memory.producer import MAX_BODY, MAX_KEY, MemoryProducer

MakeOptions = Callable[..., MemoryOptions]


@asynccontextmanager
async def opened(options: MemoryOptions, name: str = "q") -> AsyncIterator[tuple[MemoryConsumer, MemoryProducer]]:
    """A consumer and a producer of one queue."""
    consumer, producer = MemoryConsumer(name, options), MemoryProducer(name, options)
    await consumer.connect()
    await producer.connect()
    try:
        yield consumer, producer
    finally:
        await consumer.shutdown()
        await producer.shutdown()


def bodies(messages: object) -> list[bytes | None]:
    return [message.message for message in messages]  # type: ignore[attr-defined]


def test_everything_comes_back_byte_for_byte(make_options: MakeOptions) -> None:
    """Body, key and headers, also empty, binary, repeated and missing ones."""
    every_byte = bytes(range(256))
    headers = [("a", b"1"), ("a", every_byte), ("ü\ud800", b"")]

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            before = time.time()
            records = [Record(every_byte, every_byte, headers), Record(b""), Record(None, b"")]
            assert await producer.produce(records) == [None] * 3
            first, second, third = await consumer.consume(9, 5)

            assert (first.message, first.key, list(first.headers)) == (every_byte, every_byte, headers)
            assert (second.message, second.key, list(second.headers)) == (b"", None, [])
            assert (third.message, third.key) == (None, b"")
            assert [m.position for m in (first, second, third)] == ["1", "2", "3"]
            assert first.timestamp is not None
            assert before - 1 <= first.timestamp <= time.time() + 1

    asyncio.run(main())


def test_a_message_requeued_comes_again_before_the_younger_ones(make_options: MakeOptions) -> None:
    """In the same session, in its old place, with one attempt more."""

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            await producer.produce([Record(letter.encode()) for letter in "abcd"])
            a, b = await consumer.consume(2, 5)
            assert await consumer.on_success([b]) == 0
            await consumer.on_fail([a])
            again = await consumer.consume(9, 5)

            assert [(m.message, m.attempts) for m in again] == [(b"a", 2), (b"c", 1), (b"d", 1)]

    asyncio.run(main())


def test_consume_returns_as_soon_as_there_is_a_message(make_options: MakeOptions) -> None:
    """It does not sit out its timeout, and it needs no polling to notice."""

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            waiting = asyncio.create_task(consumer.consume(9, 60))
            await asyncio.sleep(0)  # let it begin
            await producer.produce([Record(b"x")])

            assert bodies(await asyncio.wait_for(waiting, 5)) == [b"x"]

    asyncio.run(main())


def test_consume_returns_nothing_after_its_timeout(make_options: MakeOptions) -> None:
    """At once if it is 0."""

    async def main() -> None:
        async with opened(make_options()) as (consumer, _producer):
            for timeout in (0.0, 0.2):
                started = time.monotonic()
                assert list(await consumer.consume(9, timeout)) == []
                assert timeout - 0.02 <= time.monotonic() - started < timeout + 2

    asyncio.run(main())


def test_settling_does_not_wait_for_a_consume_that_waits(make_options: MakeOptions) -> None:
    """Nor do requeuing, extending and asking for the lag."""

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            await producer.produce([Record(b"a"), Record(b"b")])
            a, b = await consumer.consume(2, 5)
            waiting = asyncio.create_task(consumer.consume(1, 60))
            async with asyncio.timeout(5):
                await consumer.extend([a, b])
                assert await consumer.on_success([a]) == 0
                assert await consumer.lag() == 0
                await consumer.on_fail([b])

                assert bodies(await waiting) == [b"b"]

    asyncio.run(main())


def test_a_waiting_consumer_wakes_when_a_delay_ends(make_options: MakeOptions) -> None:
    """Of a record and of a message requeued: not before, and without another call."""

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            started = time.monotonic()
            await producer.produce([Record(b"a", delay=0.2)])
            first = await consumer.consume(1, 60)
            assert 0.2 <= time.monotonic() - started < 5
            started = time.monotonic()
            await consumer.on_fail(first, delay=0.2)
            (again,) = await consumer.consume(1, 60)

            assert 0.2 <= time.monotonic() - started < 5
            assert again.attempts == 2

    asyncio.run(main())


def test_a_waiting_consumer_wakes_when_anothers_lease_ends(make_options: MakeOptions) -> None:
    """Also when that lease began after it had gone to sleep; and the late settlement changes nothing."""

    async def main() -> None:
        async with opened(make_options(vt=0.3)) as (slow, producer), opened(make_options()) as (waiter, _):
            waiting = asyncio.create_task(waiter.consume(1, 60))
            await asyncio.sleep(0)  # let it begin
            slow_one = asyncio.create_task(slow.consume(1, 60))
            await producer.produce([Record(b"a"), Record(b"b")])
            held = await slow_one
            first = await waiting
            assert await waiter.on_success(first) == 0
            async with asyncio.timeout(5):
                second = await waiter.consume(1, 60)

            assert {*bodies(first), *bodies(second)} == {b"a", b"b"}
            assert second[0].attempts == 2
            assert await slow.on_success(held) == 1
            assert await waiter.on_success(second) == 0

    asyncio.run(main())


def test_a_lease_that_is_extended_does_not_end(make_options: MakeOptions) -> None:
    """For longer than it would have lasted, no other consumer gets the message."""

    async def main() -> None:
        async with opened(make_options(vt=1.0)) as (owner, producer), opened(make_options()) as (other, _):
            await producer.produce([Record(b"a")])
            held = await owner.consume(1, 5)
            assert owner.lease == 1.0
            for _round in range(12):
                assert list(await other.consume(1, 0.1)) == []
                await owner.extend(held)

            assert await owner.on_success(held) == 0

    asyncio.run(main())


def test_shutdown_requeues_what_is_unsettled_and_makes_the_rest_late(make_options: MakeOptions) -> None:
    """At once, not when the lease ends; a settlement afterwards is harmless, also of what a successor holds."""

    async def main() -> None:
        async with opened(make_options()) as (first, producer), opened(make_options()) as (second, _):
            await producer.produce([Record(b"a"), Record(b"b")])
            held = await first.consume(9, 5)
            await first.on_success(held[:1])
            await first.shutdown()
            await first.shutdown()
            again = await second.consume(9, 0)
            assert [(m.message, m.attempts) for m in again] == [(b"b", 2)]
            assert await first.on_success(held) == 2
            await first.on_fail(held)
            await first.extend(held)

            assert list(await second.consume(9, 0)) == []
            assert await second.on_success(again) == 0

    asyncio.run(main())


def test_lag_knows_what_waits(make_options: MakeOptions) -> None:
    """What is in flight does not wait."""

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            await producer.produce([Record(b"x")] * 5)
            held = await consumer.consume(2, 5)
            assert await consumer.lag() == 3
            await consumer.on_fail(held)

            assert await consumer.lag() == 5

    asyncio.run(main())


def test_queues_and_namespaces_do_not_bleed(make_options: MakeOptions) -> None:
    """A message is in the one queue of the one namespace that it was produced to."""

    async def main() -> None:
        async with (
            opened(make_options()) as (consumer, producer),
            opened(make_options(), "other") as (other_queue, _),
            opened(make_options().model_copy(update={"namespace": "another"})) as (other_namespace, _),
        ):
            await producer.produce([Record(b"x")])

            assert list(await other_queue.consume(9, 0)) == []
            assert list(await other_namespace.consume(9, 0)) == []
            assert bodies(await consumer.consume(9, 0)) == [b"x"]

    asyncio.run(main())


def test_a_message_waits_for_a_consumer_that_comes_later(make_options: MakeOptions) -> None:
    """Nothing is tied to the producer that is gone."""

    async def main() -> None:
        async with opened(make_options()) as (_consumer, producer):
            await producer.produce([Record(b"x")])
        async with opened(make_options()) as (consumer, _producer):
            assert bodies(await consumer.consume(9, 5)) == [b"x"]

    asyncio.run(main())


def test_one_bad_record_does_not_hold_up_its_neighbours(make_options: MakeOptions) -> None:
    """It is refused for good, in its own place of the answer, with the reason."""
    bad = {
        "a body is": [Record("text"), Record(bytearray(b"x")), Record(bytes(MAX_BODY + 1))],  # type: ignore[arg-type]
        "a key is": [Record(b"x", key="text"), Record(b"x", key=bytes(MAX_KEY + 1))],  # type: ignore[arg-type]
        "headers are": [Record(b"x", headers=[("a", "text")]), Record(b"x", headers=[("a", bytes(MAX_KEY))])],  # type: ignore[list-item]
        "a delay is": [Record(b"x", delay=-1.0), Record(b"x", delay=float("nan")), Record(b"x", delay=float("inf"))],
        "no producer keyword partition": [Record(b"x", options={"partition": 1})],
    }

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            for reason, records in bad.items():
                for record in records:
                    answers = await producer.produce([Record(b"before"), record, Record(b"after")])
                    assert (answers[0], answers[2]) == (None, None)
                    assert isinstance(answers[1], ProduceError)
                    assert not answers[1].retriable
                    assert reason in str(answers[1])
                    assert bodies(await consumer.consume(9, 5)) == [b"before", b"after"]

    asyncio.run(main())


def test_a_body_larger_than_a_chunk_and_many_of_them_travel(make_options: MakeOptions) -> None:
    """Lists are cut into frames, and nothing is lost or moved at the cuts."""
    sizes = [9_000_000, 1, 0, 5_000_000, 5_000_000, 2]

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            records = [Record(bytes([index]) * size) for index, size in enumerate(sizes)]
            assert await producer.produce(records) == [None] * len(sizes)
            got: list[QueueMessage] = []
            while len(got) < len(sizes):
                got += await consumer.consume(9, 5)

            assert bodies(got) == [record.message for record in records]

    asyncio.run(main())


def test_a_closed_producer_does_not_pretend(make_options: MakeOptions) -> None:
    """Before connect and after shutdown it raises, as the consumer does, and says which of the two it is."""

    async def main() -> None:
        options = make_options()
        consumer, producer = MemoryConsumer("q", options), MemoryProducer("q", options)
        for state in ("is not connected yet", "is closed"):
            with pytest.raises(ConnectorError, match=f"producer of 'q' {state}"):
                await producer.produce([Record(b"x")])
            with pytest.raises(ConnectorError, match=f"consumer of 'q' {state}"):
                await consumer.consume(1, 0)
            assert await consumer.lag() is None
            if state == "is not connected yet":
                await producer.connect()
                await consumer.connect()
                await producer.shutdown()
                await consumer.shutdown()

    asyncio.run(main())


def test_connecting_again_keeps_what_is_held(make_options: MakeOptions) -> None:
    """While the connection lives, `connect` is harmless."""

    async def main() -> None:
        async with opened(make_options()) as (consumer, producer):
            await producer.produce([Record(b"x")])
            held = await consumer.consume(1, 5)
            await consumer.connect()
            await producer.connect()

            assert await consumer.on_success(held) == 0

    asyncio.run(main())


class TestFullQueue:
    def test_produce_waits_until_there_is_room(self, make_options: MakeOptions) -> None:
        """A call larger than the queue goes in piece by piece, in order, and never over the limit."""

        async def main() -> None:
            async with opened(make_options(max_length=3)) as (consumer, producer):
                records = [Record(str(number).encode()) for number in range(10)]
                producing = asyncio.create_task(producer.produce(records))
                got: list[bytes | None] = []
                while len(got) < 10:
                    messages = await consumer.consume(9, 5)
                    assert len(messages) <= 3
                    got += bodies(messages)
                    await consumer.on_success(messages)

                assert got == [record.message for record in records]
                assert await producing == [None] * 10

        asyncio.run(main())

    def test_a_call_that_began_earlier_comes_first(self, make_options: MakeOptions) -> None:
        """Also when both wait for room."""

        async def main() -> None:
            async with opened(make_options(max_length=1)) as (consumer, producer):
                calls = [asyncio.create_task(producer.produce([Record(letter.encode())] * 2)) for letter in "ab"]
                got: list[bytes | None] = []
                while len(got) < 4:
                    messages = await consumer.consume(9, 5)
                    got += bodies(messages)
                    await consumer.on_success(messages)
                await asyncio.gather(*calls)

                assert got == [b"a", b"a", b"b", b"b"]

        asyncio.run(main())

    def test_what_finds_no_room_in_time_is_refused_for_now(
        self, make_options: MakeOptions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The answer says which records are stored, and that the others may be sent again."""
        monkeypatch.setattr("penstock_memory.producer.FULL_TIMEOUT", 0.1)

        async def main() -> None:
            async with opened(make_options(max_length=2)) as (consumer, producer):
                records = [Record(b"a"), Record(b"x", delay=-1.0), Record(b"b"), Record(b"c")]
                answers = await producer.produce(records)
                assert [answer is None for answer in answers] == [True, False, True, False]
                assert isinstance(answers[3], ProduceError)
                assert answers[3].retriable
                assert "queue 'q' is full" in str(answers[3])

                assert bodies(await consumer.consume(9, 5)) == [b"a", b"b"]

        asyncio.run(main())
