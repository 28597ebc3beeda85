"""A `multiprocessing.Queue`, given as an object, as the source or the target of messages."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from typing import Any

import pytest

from penstock import Engine, QueueConfig
from penstock.errors import ConnectorError, ProduceError
from penstock.message import Record
from penstock_memory.consumer import MemoryConsumer
from penstock_memory.options import MemoryOptions
from penstock_memory.producer import MemoryProducer

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def queue() -> Iterator[Any]:
    """A queue that processes share."""
    queue = SPAWN.Queue()
    yield queue
    queue.close()
    queue.join_thread()


async def take(consumer: MemoryConsumer, count: int) -> list[Any]:
    """So many messages; an item needs a moment to get through the pipe."""
    messages: list[Any] = []
    async with asyncio.timeout(20):
        while len(messages) < count:
            messages += await consumer.consume(count - len(messages), 1)
    return messages


def put_numbers(queue: Any) -> None:
    """The other process."""
    for number in range(5):
        queue.put(str(number))


def test_an_engine_works_off_what_another_process_puts() -> None:
    """The function gets each item; the process puts plain text, and knows nothing of Penstock."""
    queue = SPAWN.Queue()
    config = QueueConfig(name="payments", connector="memory", serializer="json", config={"queue": queue})
    app = Engine(input_queue="payments", queue_config=[config], app_name="payments")
    seen: list[int] = []

    @app.stream_app
    def controller(message: int) -> bool:
        seen.append(message)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return True

    process = SPAWN.Process(target=put_numbers, args=(queue,))
    process.start()
    with pytest.raises(KeyboardInterrupt):
        app.run()
    process.join()

    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("item", "body"),
    [(b"\xff", b"\xff"), ("grün", "grün".encode()), ({"id": 7}, b'{"id": 7}'), (7, b"7"), (None, b"null")],
)
def test_an_item_of_any_program_becomes_a_body(queue: Any, item: object, body: bytes) -> None:
    """Bytes as they are, text in UTF-8, what JSON can say as JSON."""

    async def main() -> None:
        consumer = MemoryConsumer("q", MemoryOptions(queue=queue))
        await consumer.connect()
        queue.put(item)
        (message,) = await take(consumer, 1)
        assert message.message == body
        await consumer.on_success([message])
        await consumer.shutdown()

    asyncio.run(main())


def test_an_item_that_is_not_a_message_stays_and_is_named(queue: Any) -> None:
    """Neither lost nor guessed at; what was taken before it is delivered first."""

    async def main() -> None:
        consumer = MemoryConsumer("q", MemoryOptions(queue=queue))
        await consumer.connect()
        queue.put({1, 2})
        with pytest.raises(ConnectorError, match="an item of type set, which is not a message; put bytes, text, or"):
            await take(consumer, 1)
        await consumer.shutdown()

    asyncio.run(main())

    assert queue.get(timeout=10) == {1, 2}


def test_everything_of_a_record_comes_back(queue: Any) -> None:
    """Key, headers and delay as well; a record that is only a body is put as its bytes, for any program."""
    records = [Record(b"a", b"k", [("h", b"1"), ("null", None)]), Record(None), Record(b"later", delay=0.3)]

    async def main() -> None:
        options = MemoryOptions(queue=queue)
        consumer, producer = MemoryConsumer("q", options), MemoryProducer("q", options)
        await consumer.connect()
        await producer.connect()
        assert await producer.produce(records) == [None] * 3
        began = time.monotonic()
        messages = await take(consumer, 3)
        assert time.monotonic() - began > 0.1
        assert [(m.message, m.key, list(m.headers)) for m in messages] == [
            (record.message, record.key, list(record.headers)) for record in records
        ]
        await consumer.on_success(messages)
        await producer.produce([Record(b"plain")])
        await producer.shutdown()
        await consumer.shutdown()

    asyncio.run(main())

    assert queue.get(timeout=10) == b"plain"


def test_a_requeued_message_comes_again_before_younger_ones(queue: Any) -> None:
    """With one attempt more; a late settlement changes nothing."""

    async def main() -> None:
        consumer = MemoryConsumer("q", MemoryOptions(queue=queue))
        await consumer.connect()
        for letter in "abc":
            queue.put(letter)
        held = await take(consumer, 2)
        assert await consumer.on_fail(held[:1]) == 0
        assert [(m.message, m.attempts) for m in await take(consumer, 2)] == [(b"a", 2), (b"c", 1)]
        assert await consumer.on_success(held[:1]) == 1
        await consumer.shutdown()

    asyncio.run(main())


def test_a_shutdown_puts_back_what_is_not_settled(queue: Any) -> None:
    """Delivered, requeued and delayed ones alike: the next consumer has them, in this process or in another one."""

    async def main() -> None:
        first, second = (MemoryConsumer("q", MemoryOptions(queue=queue)) for _ in range(2))
        await first.connect()
        for letter in "abcd":
            queue.put(letter)
        a, b, c, _d = await take(first, 4)
        await first.on_success([a])
        await first.on_fail([b])
        await first.on_fail([c], delay=60)
        await first.shutdown()
        await second.connect()
        assert [message.message for message in await take(second, 3)] == [b"b", b"c", b"d"]
        await second.shutdown()

    asyncio.run(main())
    while not queue.empty():
        queue.get()


def test_a_full_queue_refuses_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wait, and in words; what found room is confirmed."""
    monkeypatch.setattr("penstock_memory.producer.FULL_TIMEOUT", 0.1)
    queue = SPAWN.Queue(maxsize=2)

    async def main() -> None:
        producer = MemoryProducer("q", MemoryOptions(queue=queue))
        await producer.connect()
        answers = await producer.produce([Record(letter.encode()) for letter in "abc"])
        assert answers[:2] == [None, None]
        assert isinstance(answers[2], ProduceError)
        assert answers[2].retriable
        assert "its multiprocessing.Queue has had no room; consume faster, or make it with a larger maxsize" in str(
            answers[2]
        )
        await producer.shutdown()

    asyncio.run(main())

    assert [queue.get(timeout=10) for _ in range(2)] == [b"a", b"b"]


def test_it_cannot_be_browsed(queue: Any) -> None:
    """To look at an item is to take it."""

    async def main() -> None:
        consumer = MemoryConsumer("q", MemoryOptions(queue=queue))
        with pytest.raises(ConnectorError, match="cannot be read without taking its items"):
            await consumer.browse(1)
        await consumer.shutdown()

    asyncio.run(main())
