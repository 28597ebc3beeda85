"""One queue, many clients: what PyRSMQ and we write, the other reads, counts and deletes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
from core.tests.engine_fixture import EngineFixture, drain
from rsmq import RedisSMQ
from rsmq.cmd.exceptions import NoMessageInQueue

from penstock.config.model import QueueConfig
from penstock.errors import Retry
from penstock.message import Record


def test_pyrsmq_reads_what_we_send(opener: Any, pyrsmq: RedisSMQ) -> None:
    """Body and count arrive; the id has RSMQ's shape; its own delete finds all three fields."""

    async def send() -> None:
        async with opener.producer() as producer:
            assert await producer.produce([Record(b"\x00\xffone"), Record(b"two")]) == [None, None]

    asyncio.run(send())
    first = pyrsmq.receiveMessage(vt=60).execute()
    second = pyrsmq.receiveMessage(vt=60).execute()

    assert [(m["message"], m["rc"]) for m in (first, second)] == [(b"\x00\xffone", 1), (b"two", 1)]
    assert len(first["id"]) == 32
    assert first["id"].isalnum()
    assert pyrsmq.deleteMessage(id=first["id"]).execute() is True


def test_we_read_what_pyrsmq_sends(opener: Any, pyrsmq: RedisSMQ, consumed: Any) -> None:
    """Body, count, id and the time in the id; deleted, nothing of it is left."""
    pyrsmq.createQueue().execute()
    message_id = pyrsmq.sendMessage(message="hello").execute()

    async def read() -> Any:
        async with opener.consumer() as consumer:
            (message,) = await consumed(consumer, 1)
            assert await consumer.on_success([message]) == 0
            return message

    message = asyncio.run(read())

    assert (message.message, message.attempts) == (b"hello", 1)
    assert message.message_context == message.position == message_id
    sent, created = message.timestamp, pyrsmq.getQueueAttributes().execute()["created"]
    assert created - 2 < sent < created + 60


def test_a_message_that_we_requeued_is_pyrsmqs(
    opener: Any, pyrsmq: RedisSMQ, raw: redis.Redis, queue: str, consumed: Any
) -> None:
    """The receive count goes on from ours, and the time of the first receive is that of the first of ours."""
    pyrsmq.createQueue().execute()
    message_id = pyrsmq.sendMessage(message="again").execute()
    field = f"{message_id}:fr"

    async def receive_twice() -> int:
        async with opener.consumer() as consumer:
            await consumer.on_fail(await consumed(consumer, 1))
            first = int(raw.hget(f"rsmq:{queue}:Q", field) or 0)
            while int(raw.time()[0] * 1000 + raw.time()[1] / 1000) <= first:
                pass  # until the server's clock shows a later millisecond
            await consumer.on_fail(await consumed(consumer, 1))
            return first

    first = asyncio.run(receive_twice())
    message = pyrsmq.receiveMessage().execute()

    assert (message["rc"], message["ts"]) == (3, first)


def test_pyrsmq_does_not_get_what_is_leased_to_us(opener: Any, pyrsmq: RedisSMQ, consumed: Any) -> None:
    """A delivery of ours is hidden from every other client."""
    pyrsmq.createQueue().execute()
    pyrsmq.sendMessage(message="mine").execute()

    async def hold() -> None:
        async with opener.consumer() as consumer:
            await consumed(consumer, 1)
            with pytest.raises(NoMessageInQueue):
                pyrsmq.receiveMessage().execute()

    asyncio.run(hold())


def test_attributes_and_counters_agree_and_the_hash_is_left_clean(
    opener: Any, pyrsmq: RedisSMQ, raw: redis.Redis, queue: str, consumed: Any
) -> None:
    """After 1,200 messages came and went, by us and by PyRSMQ, only the seven fields of the queue itself remain."""

    async def work() -> None:
        async with opener.producer(vt=45, delay=0) as producer, opener.consumer(vt=45) as consumer:
            assert not any(await producer.produce([Record(b"%d" % i) for i in range(1199)]))
            pyrsmq.sendMessage(message="1199").execute()
            messages = await consumed(consumer, 1200, at_once=1200)
            assert sorted(int(m.message) for m in messages) == list(range(1200))
            assert await consumer.on_success(messages) == 0

    asyncio.run(work())
    attributes = pyrsmq.getQueueAttributes().execute()

    assert (attributes["vt"], attributes["delay"], attributes["maxsize"]) == (45.0, 0.0, -1)
    assert (attributes["totalsent"], attributes["totalrecv"]) == (1200, 1200)
    assert (attributes["msgs"], attributes["hiddenmsgs"]) == (0, 0)
    assert raw.hlen(f"rsmq:{queue}:Q") == 7
    assert queue.encode() in pyrsmq.listQueues().execute()


def test_an_existing_queue_keeps_its_attributes(opener: Any, pyrsmq: RedisSMQ) -> None:
    """Our options describe a queue that we create, and our deliveries; they do not change another client's queue."""
    pyrsmq.createQueue(vt=17, delay=3, maxsize=2048).execute()

    async def connect() -> float | None:
        async with opener.consumer(vt=None) as consumer, opener.producer(vt=99, delay=9, maxsize=4096):
            lease: float | None = consumer.lease
            return lease

    assert asyncio.run(connect()) == 17.0
    attributes = pyrsmq.getQueueAttributes().execute()
    assert (attributes["vt"], attributes["delay"], attributes["maxsize"]) == (17.0, 3.0, 2048)


def test_ids_are_unique_and_in_order_inside_a_bulk_and_between_senders(
    opener: Any, raw: redis.Redis, queue: str, consumed: Any
) -> None:
    """4,000 messages of four senders at once have 4,000 ids, and those of each sender's call rise."""

    async def work() -> list[str]:
        async with opener.producer() as one, opener.producer() as two, opener.consumer() as consumer:
            calls = [p.produce([Record(b"%d" % n) for _ in range(500)]) for n in range(4) for p in (one, two)]
            assert not any(error for results in await asyncio.gather(*calls) for error in results)
            messages = await consumed(consumer, 4000, at_once=500)
            return [m.message_context for m in messages]

    ids = asyncio.run(work())

    assert len(set(ids)) == 4000
    assert all(len(i) == 32 for i in ids)
    calls: dict[str, list[str]] = {}
    for message_id in ids:
        calls.setdefault(message_id[-22:], []).append(message_id)
    assert sorted(len(call) for call in calls.values()) == [500] * 8
    assert all(call == sorted(call) for call in calls.values())


def test_another_reader_gets_raw_dead_letters_without_the_envelope(
    redis_server: Any, pyrsmq: RedisSMQ, queue: str
) -> None:
    """`envelope: off`: what a program has always read there, byte for byte."""
    stand = EngineFixture()
    config = {"url": redis_server.url}
    dead = QueueConfig(name="dead", value=queue, profile="rsmq-dlq", envelope="off", config=config)
    stand.put(b"bad \xff")

    drain(stand.engine(lambda _message: None, targets=[dead], dead_letters=True))

    assert pyrsmq.receiveMessage().execute()["message"] == b"bad \xff"


def test_a_message_that_goes_to_the_tail_has_its_tries_in_an_envelope(
    redis_server: Any, pyrsmq: RedisSMQ, queue: str
) -> None:
    """RSMQ has no headers, and the tries are bounded all the same."""
    stand = EngineFixture()
    tasks = QueueConfig(name="in", value=queue, profile="rsmq", config={"url": redis_server.url})
    calls: list[int] = []

    def fail(number: int) -> None:
        calls.append(number)
        raise Retry(to="tail")

    app = stand.engine(fail, ["in"], source=tasks, dead_letters=True)
    pyrsmq.createQueue().execute()
    pyrsmq.sendMessage(message="7").execute()

    drain(app)

    assert calls == [7, 7, 7]
    assert [message.message for message in stand.take("dead")] == [b"7"]
