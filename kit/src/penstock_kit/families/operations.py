"""What tools do to queues: they count messages without joining a group, follow what arrives, and create queues."""

from __future__ import annotations

import asyncio
import time
from time import monotonic

from penstock.connectors import Backlog
from penstock.message import BrowsedMessage, Record
from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.capability import declares, proves
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.watched import WatchedConsumer

COUNTS = "backlog: what waits, is in flight, is delayed; None where the backend cannot tell, never a guess"
CHANGES_NOTHING = "backlog: it only counts; no lease, attempt, offset or place in the queue may change"
CREATES = "create: it makes what is missing, and leaves what is there as it is"
FOLLOWS = "follow: it begins at the end of the queue, and shows what arrives once, without taking it"
LONG = 600.0  # seconds of a delay that does not end in a test


class Operations:
    """The capabilities `backlog` and `create`, and `follow`."""

    @proves("backlog")
    def test_messages_are_counted_without_joining(self, kit: Kit) -> None:
        """By a consumer that never connected: what waits, and, where they are known, what is in flight and delayed."""

        async def main() -> None:
            await kit.send(*numbered(12))
            delays = declares(kit.capabilities, "record_delay")
            if delays:
                await kit.send(Record(b"later", delay=LONG))
            async with kit.consumer() as worker, kit.browser() as counter:
                before = await _counted(kit, counter, worker, 12, "12 messages were sent")
                _check_oldest(before)
                if delays and before.delayed is not None:
                    must(before.delayed == 1, f"one record was sent with a delay; counted: {before}", COUNTS)
                held = await worker.receive(3)
                during = await counter.backlog()
                must(
                    (during.waiting, during.in_flight) in {(9, 3), (9, None), (12, None)},
                    f"a consumer has three of twelve messages; waiting and in_flight are (9, 3), or (9, None) where "
                    f"only what waits is counted, or (12, None) where it is not known who has what; counted: {during}",
                    COUNTS,
                )
                await worker.succeed(held + await worker.receive(9))
                after = await _counted(kit, counter, worker, 0, "all messages were settled")
                must(
                    not after.in_flight and after.oldest is None,
                    f"all messages were settled: nothing is in flight, and none is the oldest; counted: {after}",
                    COUNTS,
                )

        kit.run(main)

    @proves("backlog", probe=False)
    def test_counting_changes_nothing(self, kit: Kit) -> None:
        """Attempts, leases, order and what others get stay the same."""

        async def main() -> None:
            sent = numbered(12)
            async with kit.producer() as producer:
                # One key, so that there is an order also where order is by key.
                await producer.send([kit.held(body) for body in sent])
            async with kit.consumer() as worker, kit.browser() as counter:
                held = await worker.receive(3)
                for looking in (counter, worker, counter):
                    await looking.backlog()
                rest = await worker.receive(9)
                rest += await worker.rest()
                scenario = "three messages were in flight, all were counted three times, then the rest was consumed"
                balance(set(sent) - set(bodies(held)), bodies(rest), scenario=scenario, look=CHANGES_NOTHING)
                counted = [(message.attempts, message.abandoned or 0) for message in rest]
                must(
                    counted == [(1, 0)] * 9,
                    f"{scenario}; each is the first delivery, with attempts 1 and abandoned 0; they were {counted}",
                    CHANGES_NOTHING,
                )
                if kit.held_come_in_order:
                    came = bodies(held + rest)
                    must(came == sent, f"{scenario}; they came as {came}", CHANGES_NOTHING)
                late = await worker.succeed(held + rest)
                must(late == 0, f"{scenario}; {late} of them were lost to the consumer that had them", CHANGES_NOTHING)

        kit.run(main)

    @proves("browse", probe=False)
    def test_what_arrives_is_followed(self, kit: Kit) -> None:
        """Each message once, none that was there before, and all of them are still there for a consumer."""

        async def main() -> None:
            await kit.send(b"before")
            async with kit.browser() as follower, kit.producer() as producer:
                if (first := await follower.follow(0.0)) is None:
                    kit.not_promised("its new messages have the highest positions, so that `browse` shows them")
                must(not first, f"what was there before is not shown; it was {bodies(first)}", FOLLOWS)
                # Different keys, so that there is something to follow in each partition.
                sent = numbered(12)
                await producer.send([kit.record(body, key=body) for body in sent])
                seen: list[BrowsedMessage] = []
                deadline = monotonic() + kit.timeout
                while len(seen) < len(sent) and monotonic() < deadline:
                    seen += await follower.follow(0.2) or ()
                seen += await follower.follow(kit.backend.idle_timeout) or ()
                balance(sent, bodies(seen), scenario="followed while twelve messages arrived", look=FOLLOWS)
                async with kit.consumer() as worker:
                    taken = await worker.receive(13)
                    balance({b"before", *sent}, bodies(taken), scenario="followed, then consumed", look=FOLLOWS)
                    must(
                        all(message.attempts == 1 for message in taken),
                        "followed, then consumed; each is the first delivery, with attempts 1",
                        FOLLOWS,
                    )
                    await worker.succeed(taken)

        kit.run(main)

    @proves("create")
    def test_a_queue_is_created_once(self, kit: Kit) -> None:
        """By a producer that never connected; again it says that the queue exists, and what is in it stays."""
        kit.needs("create")

        async def main() -> None:
            settings = kit.backend.config(f"{kit.queue}-new", None)
            creator = kit.make_producer_of(settings)
            await creator.create()
            producer = kit.make_producer_of(settings)
            try:
                await producer.connect()
                await producer.send([Record(b"first")])
            finally:
                await producer.shutdown()
            again = await creator.create()
            must(again.existed, f"create was called twice; the second time the queue exists: {again}", CREATES)
            consumer = kit.make_consumer_of(settings)
            try:
                await consumer.connect()
                message = await consumer.one()
                must(message.message == b"first", "what was in a queue is there after a second create", CREATES)
                await consumer.succeed([message])
            finally:
                await consumer.shutdown()

        kit.run(main)


async def _counted(kit: Kit, counter: WatchedConsumer, worker: WatchedConsumer, waiting: int, scenario: str) -> Backlog:
    """Count until so many messages wait; some backends need a moment, and some of their consumers must be polled."""
    deadline = monotonic() + kit.timeout
    while (found := await counter.backlog()).waiting != waiting:
        must(monotonic() < deadline, f"{scenario}; counted: {found}", COUNTS)
        if not waiting:
            must(not await worker.consume(1, 0.0), f"{scenario}; another one came", COUNTS)
        await asyncio.sleep(0.02)
    return found


def _check_oldest(found: Backlog) -> None:
    must(
        found.oldest is None or abs(time.time() - found.oldest) < 300,
        f"messages were sent just now; the oldest is of {found.oldest}, and it is {time.time():.0f}",
        "the oldest of a Backlog: seconds since the epoch, when the message was enqueued",
    )
