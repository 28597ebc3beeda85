"""What one call moves: never more than asked for, no later than needed, and each message settled by itself."""

from __future__ import annotations

import asyncio
from time import monotonic

from penstock.message import QueueMessage, Record
from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.limits import aside
from penstock_kit.watched import WatchedConsumer, WatchedProducer

PROMPT = 2.0  # seconds in which a thing that waits for nothing is done, on a busy machine
WAIT = 1.0  # seconds that an empty consume is told to wait
LONG = 4.0  # seconds that a consume is told to wait while something else must not wait for it


class Batches:
    """`consume` and what it returns."""

    def test_consume_never_returns_more_than_asked_for(self, kit: Kit) -> None:
        """Whatever portions the client fetches; and what is left over comes with the next calls."""

        async def main() -> None:
            sent = numbered(60)
            await kit.send(*sent)
            seen: list[QueueMessage] = []
            async with kit.consumer() as consumer:
                for most in (1, 2, 7, 49, 1):
                    # Looked at by the watch that every consumer of the kit is under.
                    found = await consumer.receive(most, at_once=most)
                    await consumer.succeed(found)
                    seen += found
            balance(sent, bodies(seen), scenario="read in portions of 1, 2, 7, 49 and 1")

        kit.run(main)

    def test_consume_returns_as_soon_as_there_is_anything(self, kit: Kit) -> None:
        """It does not wait until a batch is full, nor sit out its timeout."""

        async def main() -> None:
            await kit.send(*numbered(3))
            async with kit.consumer() as consumer:
                # The first may have to wait for a group; from then on messages are at hand.
                seen = [await consumer.one()]
                started = monotonic()
                while len(seen) < 3:
                    seen += await consumer.consume(100, LONG)
                    must(
                        monotonic() - started < PROMPT,
                        f"consume returns as soon as there is any message; with three in the queue and room for 100 it "
                        f"took {monotonic() - started:.1f} s of its timeout of {LONG:g} s",
                        "a client call that waits for as many messages as it is asked for",
                    )

        kit.run(main)

    def test_a_waiting_consumer_is_woken_by_a_message(self, kit: Kit) -> None:
        """It arrives soon after it was confirmed, while `consume` waits."""

        async def main() -> None:
            async with kit.consumer() as consumer, kit.producer() as producer:
                await consumer.succeed(await _prime(producer, consumer))
                async with aside(consumer.consume(10, LONG)) as waiting:
                    await asyncio.sleep(0.3)  # it is to be waiting by then, deep in whatever it waits by
                    await producer.send([Record(b"x")])
                    started = monotonic()
                    found = await waiting
                    took = monotonic() - started
            must(
                bodies(found) == [b"x"],
                f"a message that arrives while consume waits is returned by it; it returned {bodies(found)!r}",
                "how consume waits: what arrives wakes it, or it looks again before its timeout is over",
            )
            must(
                took < PROMPT,
                f"a waiting consume returns soon after a message arrives; it took {took:.1f} s",
                "the longest pause between two looks at the backend, where it cannot wake a consumer",
            )

        kit.run(main)

    def test_consume_on_an_empty_queue_returns_in_time(self, kit: Kit) -> None:
        """At once if its timeout is 0, else after about its timeout: no later, or the engine could not stop; and no
        sooner, or it would turn in a hot loop."""

        async def main() -> None:
            async with kit.consumer() as consumer, kit.producer() as producer:
                await consumer.succeed(await _prime(producer, consumer))
                started = monotonic()
                await consumer.find_empty(0)
                took = monotonic() - started
                must(
                    took < PROMPT,
                    f"consume(…, timeout=0) of an empty queue returns at once; it took {took:.1f} s",
                    'a client for which 0 means "for ever" or "the default"; give it its shortest wait instead',
                )
                started = monotonic()
                await consumer.find_empty(WAIT)
                took = monotonic() - started
                must(
                    took < WAIT + PROMPT,
                    f"consume(…, timeout={WAIT:g}) of an empty queue returns after about {WAIT:g} s; it took "
                    f"{took:.1f} s",
                    "how the timeout reaches the client: its unit, and calls that are made again when one timed out",
                )
                must(
                    took > WAIT / 2,
                    f"consume(…, timeout={WAIT:g}) of an empty queue waits; it returned nothing after {took:.3f} s, "
                    "which makes the engine a hot loop",
                    "consume must wait for messages until its timeout is over",
                )

        kit.run(main)

    def test_settling_does_not_wait_for_a_waiting_consume(self, kit: Kit) -> None:
        """Success, failure, extension and lag are done while `consume` waits for messages that do not come."""

        async def main() -> None:
            async with kit.consumer() as consumer, kit.producer() as producer:
                await consumer.succeed(await _prime(producer, consumer))
                await producer.send([Record(body) for body in numbered(4)])
                held = await consumer.receive(4)
                async with aside(consumer.consume(10, LONG)) as waiting:
                    await asyncio.sleep(0.2)  # it is to be waiting by then
                    for name, settle in (
                        ("extend", lambda: consumer.extend(held)),
                        ("on_success", lambda: consumer.succeed(held[:3])),
                        ("lag", consumer.lag),
                        ("on_fail", lambda: consumer.fail(held[3:])),
                    ):
                        started = monotonic()
                        await settle()
                        took = monotonic() - started
                        must(
                            took < PROMPT,
                            f"{name} does not wait for a consume that waits; it took {took:.1f} s",
                            "a lock or a thread that consume holds while it waits for messages",
                        )
                    found = await waiting or await consumer.receive(1)
                balance([b"3"], bodies(found), scenario="one of four messages was requeued while consume waited")

        kit.run(main)

    def test_a_batch_is_settled_message_by_message(self, kit: Kit) -> None:
        """Some succeed, some fail, in any order: what failed comes again, all of it, and nothing else."""
        look = "on_success and on_fail must go by the messages they are given, not by their number or the last one"

        async def main() -> None:
            for first_fail in (False, True):
                await kit.send(*numbered(30))
                async with kit.consumer() as consumer:
                    first = await consumer.receive(30)
                    failed = [message for number, message in enumerate(first) if number % 3 == 1]
                    if first_fail:
                        await consumer.fail(failed)
                    await consumer.succeed([message for message in reversed(first) if message not in failed])
                    if not first_fail:
                        await consumer.fail(failed)
                    again = await consumer.receive(len(failed))
                    await consumer.succeed(again)
                    again += await consumer.rest()
                balance(bodies(failed), bodies(again), scenario="every third message of a batch failed", look=look)

        kit.run(main)

    def test_many_messages_are_settled_in_one_call(self, kit: Kit) -> None:
        """Thousands, from several consume calls, in any order: as many as the engine has in flight."""

        async def main() -> None:
            sent = numbered(2_500)
            await kit.send(*sent)
            async with kit.consumer() as consumer:
                messages = await consumer.receive(2_500, at_once=1_000)
                balance(sent, bodies(messages), scenario="2,500 messages in one produce call")
                late = await consumer.succeed(messages[::-1])
                must(
                    late == 0,
                    f"nothing was late, yet on_success says so of {late} of 2,500 messages",
                    "limits of the backend on how much one call may settle",
                )
            async with kit.consumer() as consumer:
                look = "limits of the backend on how much one call may settle: do it in several"
                balance(
                    (), bodies(await consumer.rest()), scenario="2,500 messages were settled in one call", look=look
                )

        kit.run(main)


async def _prime(producer: WatchedProducer, consumer: WatchedConsumer) -> list[QueueMessage]:
    """A first message, so that whatever a consumer joins, it has joined."""
    await producer.send([Record(b"prime")])
    return [await consumer.one()]
