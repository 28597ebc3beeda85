"""Batches: consume returns no more than asked for, and in time; each message is settled by itself."""

from __future__ import annotations

import asyncio
from time import monotonic

from penstock.message import QueueMessage, Record
from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.limits import aside
from penstock_kit.watched import WatchedConsumer, WatchedProducer

PROMPT = 2.0  # seconds for a call that has nothing to wait for, on a busy machine
WAIT = 1.0  # seconds that an empty consume is told to wait
LONG = 4.0  # seconds that a consume is told to wait while something else must not wait for it


class Batches:
    """`consume` and what it returns."""

    def test_consume_never_returns_more_than_asked_for(self, kit: Kit) -> None:
        """However many the client fetches. The rest comes with the next calls."""

        async def main() -> None:
            sent = numbered(60)
            await kit.send(*sent)
            seen: list[QueueMessage] = []
            async with kit.consumer() as consumer:
                for most in (1, 2, 7, 49, 1):
                    # WatchedConsumer checks how many are returned.
                    found = await consumer.receive(most, at_once=most)
                    await consumer.succeed(found)
                    seen += found
            balance(sent, bodies(seen), scenario="read in portions of 1, 2, 7, 49 and 1")

        kit.run(main)

    def test_consume_returns_as_soon_as_there_is_anything(self, kit: Kit) -> None:
        """It neither waits for a full batch nor for the end of its timeout."""

        async def main() -> None:
            await kit.send(*numbered(3))
            async with kit.consumer() as consumer:
                # The first message may wait for the group to form.
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
        """A waiting `consume` returns soon after a message was confirmed."""

        async def main() -> None:
            async with kit.consumer() as consumer, kit.producer() as producer:
                await consumer.succeed(await _prime(producer, consumer))
                async with aside(consumer.consume(10, LONG)) as waiting:
                    await asyncio.sleep(0.3)  # by then it waits
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
        """At once if its timeout is 0, else after about its timeout: not later, so that the engine can stop, and not
        sooner, so that it does not poll in a hot loop."""

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
        """`on_success`, `on_fail`, `extend` and `lag` return while `consume` waits for messages that do not come."""

        async def main() -> None:
            async with kit.consumer() as consumer, kit.producer() as producer:
                await consumer.succeed(await _prime(producer, consumer))
                await producer.send([Record(body) for body in numbered(4)])
                held = await consumer.receive(4)
                async with aside(consumer.consume(10, LONG)) as waiting:
                    await asyncio.sleep(0.2)  # by then it waits
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
                balance(
                    bodies(held[3:]), bodies(found), scenario="one of four messages was requeued while consume waited"
                )

        kit.run(main)

    def test_a_batch_is_settled_message_by_message(self, kit: Kit) -> None:
        """Some succeed, some fail, in any order. Exactly the failed ones come again."""
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
        """Thousands of messages from several consume calls, in any order, as an engine may have in flight."""

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
    """Send and receive a first message, so that the consumer has joined its group."""
    await producer.send([Record(b"prime")])
    return [await consumer.one()]
