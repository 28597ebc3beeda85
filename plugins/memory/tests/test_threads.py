"""Queues of one process: shared by its threads and event loops, woken across them, forgotten on demand."""

from __future__ import annotations

import asyncio
import threading
import time

import penstock_memory
from penstock.message import Record
from penstock_memory.consumer import MemoryConsumer
from penstock_memory.namespaces import queue
from penstock_memory.options import MemoryOptions
from penstock_memory.producer import MemoryProducer
from penstock_memory.wake_up import WakeUp


def test_a_produce_in_one_loop_wakes_a_consumer_in_another(options: MemoryOptions) -> None:
    """One message at a time goes to and fro between two threads; one lost wake-up would stop it for a minute."""
    rounds = 300

    async def play(inbox: str, outbox: str, serves: bool) -> None:
        consumer, producer = MemoryConsumer(inbox, options), MemoryProducer(outbox, options)
        await consumer.connect()
        await producer.connect()
        for _round in range(rounds):
            if serves:
                await producer.produce([Record(b"ball")])
            messages = await consumer.consume(1, 60)
            await consumer.on_success(messages)
            if not serves:
                await producer.produce([Record(b"ball")])
        await consumer.shutdown()

    started = time.monotonic()
    other = threading.Thread(target=lambda: asyncio.run(play("there", "here", serves=False)), daemon=True)
    other.start()
    asyncio.run(play("here", "there", serves=True))
    other.join(30)

    assert not other.is_alive()
    assert time.monotonic() - started < 30


def test_engines_in_several_threads_lose_and_double_nothing(options: MemoryOptions) -> None:
    """Three consumers in three loops, two producers in two more, and every fifth message requeued once."""
    total, per_call = 3000, 10
    got: list[int] = []
    enough = threading.Event()

    async def produce(half: int) -> None:
        producer = MemoryProducer("q", options)
        await producer.connect()
        for first in range(half, total, 2 * per_call):
            numbers = range(first, min(total, first + 2 * per_call), 2)
            assert not any(await producer.produce([Record(str(number).encode()) for number in numbers]))

    async def consume() -> None:
        consumer = MemoryConsumer("q", options)
        await consumer.connect()
        while not enough.is_set():
            messages = await consumer.consume(17, 0.5)
            back = [m for m in messages if m.attempts == 1 and int(m.message or b"0") % 5 == 0]
            done = [m for m in messages if m not in back]
            await consumer.on_fail(back)
            assert await consumer.on_success(done) == 0
            got.extend(int(m.message or b"-1") for m in done)
            if len(got) >= total:
                enough.set()
        await consumer.shutdown()

    jobs = [lambda half=half: asyncio.run(produce(half)) for half in (0, 1)]
    jobs += [lambda: asyncio.run(consume())] * 3
    threads = [threading.Thread(target=job, daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(got) == list(range(total))


def test_an_idle_consumer_costs_nothing(options: MemoryOptions) -> None:
    """It sleeps: waiting half a second takes little CPU time, also while the lease of another runs."""

    async def main() -> float:
        holder, waiter, producer = (
            MemoryConsumer("q", options),
            MemoryConsumer("q", options),
            MemoryProducer("q", options),
        )
        for connector in (holder, waiter, producer):
            await connector.connect()
        await producer.produce([Record(b"x")])
        await holder.consume(1, 0)
        started = time.process_time()
        await waiter.consume(1, 0.5)
        return time.process_time() - started

    assert asyncio.run(main()) < 0.05


def test_a_waiter_whose_loop_is_gone_harms_no_other(options: MemoryOptions) -> None:
    """A loop that ended in the middle of a wait leaves its wish behind; the next produce does not stumble over it."""

    async def wait_and_vanish() -> None:
        consumer = MemoryConsumer("q", options)
        await consumer.connect()
        waiting = asyncio.create_task(consumer.consume(1, 60))
        await asyncio.sleep(0)
        assert not waiting.done()

    async def use() -> bytes | None:
        consumer, producer = MemoryConsumer("q", options), MemoryProducer("q", options)
        await consumer.connect()
        await producer.connect()
        assert await producer.produce([Record(b"x")]) == [None]
        return (await consumer.consume(1, 5))[0].message

    asyncio.run(wait_and_vanish())

    assert asyncio.run(use()) == b"x"


def test_consumers_that_come_and_go_leave_nothing_behind(options: MemoryOptions) -> None:
    """A queue does not remember who once waited there, nor who once held its messages."""

    async def main() -> None:
        for _visitor in range(20):
            consumer = MemoryConsumer("q", options)
            await consumer.connect()
            await consumer.consume(1, 0)
            await consumer.shutdown()

    asyncio.run(main())
    visited = queue(options.namespace, "q")

    assert [len(visited._wait_for_messages), len(visited._lessees)] == [0, 0]


def test_a_wake_up_before_the_wait_is_not_missed() -> None:
    """Between the look and the wait there is no gap."""

    async def main() -> float:
        wake_up = WakeUp()
        threading.Thread(target=wake_up.wake).start()
        started = time.monotonic()
        await wake_up.wait(30)
        return time.monotonic() - started

    assert asyncio.run(main()) < 5


def test_reset_starts_a_namespace_anew(namespace: str, options: MemoryOptions) -> None:
    """What opens afterwards finds empty queues; other namespaces and open connectors keep theirs."""

    async def main() -> None:
        others = MemoryOptions(namespace=namespace + "-other")
        old, kept, producer = MemoryConsumer("q", options), MemoryConsumer("q", others), MemoryProducer("q", options)
        other_producer = MemoryProducer("q", others)
        for connector in (old, kept, producer, other_producer):
            await connector.connect()
        await producer.produce([Record(b"old")])
        await other_producer.produce([Record(b"other")])
        penstock_memory.reset(namespace)
        new = MemoryConsumer("q", options)
        await new.connect()

        assert list(await new.consume(9, 0)) == []
        assert [m.message for m in await old.consume(9, 0)] == [b"old"]
        assert [m.message for m in await kept.consume(9, 0)] == [b"other"]
        penstock_memory.reset(others.namespace)

    asyncio.run(main())
