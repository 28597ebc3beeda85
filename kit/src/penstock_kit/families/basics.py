"""What every connector does: messages go in and come out unchanged, and queues do not affect each other."""

from __future__ import annotations

import asyncio
import time

from penstock.message import QueueMessage, Record
from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.broken import must
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.watched import WatchedConsumer, shut_down


class Basics:
    """Round trips, competing consumers, isolation."""

    def test_a_message_comes_back_as_it_was_sent(self, kit: Kit) -> None:
        """With its body. A first delivery is attempt 1, has a position, and a timestamp that is now or unknown.
        An empty queue answers with an empty list, not with None."""

        async def main() -> None:
            before = time.time()
            await kit.send(b"hello")
            async with kit.consumer() as consumer:
                message = await consumer.one()
                must(
                    message.message == b"hello",
                    f"a body comes back byte for byte; b'hello' came back as {message.message!r}",
                    "what produce and consume do to bodies",
                )
                must(
                    message.attempts == 1,
                    f"the first delivery of a message is attempt 1; it was {message.attempts}",
                    "the attempts of a QueueMessage",
                )
                must(
                    message.position,
                    "a message says where it stands in its queue, for logs and dead letters; its position was empty",
                    "the position of a QueueMessage",
                )
                if message.timestamp is not None:
                    must(
                        before - 60 < message.timestamp < time.time() + 60,
                        f"a timestamp is in seconds since the epoch; it was {message.timestamp}, now is {before:.0f}",
                        "the unit of the timestamp of a QueueMessage",
                    )
                await consumer.succeed([message])
                await consumer.find_empty(0.2)

        kit.run(main)

    def test_every_message_arrives_once(self, kit: Kit) -> None:
        """300 messages, sent and read in batches: all arrive, none twice, and none again after they are settled."""

        async def main() -> None:
            sent = numbered(300)
            async with kit.producer() as producer, kit.consumer() as consumer:
                for start in range(0, 300, 75):
                    await producer.send([Record(body) for body in sent[start : start + 75]])
                seen = await _settle_all(consumer, 300)
            balance(sent, bodies(seen), scenario="sent and read without any fault")
            async with kit.consumer() as consumer:
                balance(
                    (), bodies(await consumer.rest()), scenario="after everything was settled, a consumer came anew"
                )

        kit.run(main)

    @at_least_once
    def test_messages_wait_for_a_consumer_that_comes_later(self, kit: Kit) -> None:
        """Messages wait without a consumer, and after their producer has closed."""

        async def main() -> None:
            sent = numbered(20)
            await kit.send(*sent)
            async with kit.consumer() as consumer:
                look = "where a consumer that comes for the first time begins: with the oldest message, not at the end"
                seen = bodies(await _settle_all(consumer, 20))
                balance(sent, seen, scenario="sent before the first consumer came", look=look)

        kit.run(main)

    def test_consumers_share_a_queue(self, kit: Kit) -> None:
        """Four producers and three consumers at once: together the consumers get every message, and none twice."""

        async def main() -> None:
            sent = numbered(400)
            consumers = [kit.make_consumer() for _ in range(3)]
            async with kit.producer() as producer:
                try:
                    await asyncio.gather(*(each.connect() for each in consumers))
                    await kit.settle_in(consumers, producer)
                    parts = [[kit.record(body, key=body) for body in sent[start::4]] for start in range(4)]
                    sending = asyncio.gather(*(producer.send(part) for part in parts))
                    seen = await share(kit, consumers, 400)
                    await sending
                finally:
                    await shut_down(consumers)
            balance(sent, bodies(seen), scenario="read by three consumers at once")

        kit.run(main)

    def test_queues_do_not_bleed(self, kit: Kit) -> None:
        """A message is in its own queue only, even if another queue's name begins with the same text."""

        async def main() -> None:
            names = [kit.queue, f"{kit.queue}2", f"{kit.queue}-2"]
            for name in names:
                await kit.send(*numbered(10, f"{name}/"), queue=name)
            for name in names:
                async with kit.consumer(name) as consumer:
                    seen = await _settle_all(consumer, 10) + await consumer.rest()
                    look = "how a queue's name becomes a place in the backend: all of it, and no pattern"
                    scenario = "three queues whose names begin alike"
                    balance(numbered(10, f"{name}/"), bodies(seen), scenario=scenario, look=look)

        kit.run(main)

    def test_many_queues_work_side_by_side(self, kit: Kit) -> None:
        """Ten queues at once, each with its own producer and consumer: each gets all its messages."""

        async def one(name: str) -> None:
            sent = numbered(30, f"{name}/")
            async with kit.consumer(name) as consumer:
                await kit.send(*sent, queue=name)
                look = "what connectors of one process share: a client, a buffer, an attribute of the class"
                balance(sent, bodies(await _settle_all(consumer, 30)), scenario="one of ten queues at once", look=look)

        async def main() -> None:
            await asyncio.gather(*(one(f"{kit.queue}-{number}") for number in range(10)))

        kit.run(main)

    @at_least_once
    def test_consumers_may_come_and_go(self, kit: Kit) -> None:
        """Consumers that open, settle some messages and close get every message together, and none twice."""

        async def main() -> None:
            sent = numbered(50)
            await kit.send(*sent)
            seen: list[QueueMessage] = []
            for _round in range(5):
                async with kit.consumer() as consumer:
                    seen += await _settle_all(consumer, 10)
            look = "where settlements are stored: in the backend, for the next consumer, not in this one"
            balance(
                sent, bodies(seen), scenario="five consumers, one after the other, each settling what it got", look=look
            )

        kit.run(main)


async def _settle_all(consumer: WatchedConsumer, count: int) -> list[QueueMessage]:
    messages = await consumer.receive(count)
    await consumer.succeed(messages)
    return messages


async def share(kit: Kit, consumers: list[WatchedConsumer], count: int) -> list[QueueMessage]:
    """Let several consumers consume and settle side by side, until they have seen so many or nothing comes."""
    seen: list[QueueMessage] = []

    async def work(consumer: WatchedConsumer) -> None:
        idle_since = asyncio.get_running_loop().time()
        while len(seen) < count and asyncio.get_running_loop().time() - idle_since < kit.timeout:
            found = await consumer.consume(10, kit.backend.idle_timeout)
            if found:
                idle_since = asyncio.get_running_loop().time()
                seen.extend(found)
                await consumer.succeed(found)
            # Let the other consumers run.
            await asyncio.sleep(0)

    await asyncio.gather(*(work(each) for each in consumers))
    return seen + [message for each in consumers for message in await each.rest()]
