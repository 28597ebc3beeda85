"""Order as declared: of the whole queue, or of each key, also after a redelivery."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from penstock.message import QueueMessage
from penstock_kit.accounts import balance
from penstock_kit.at_most_once import at_least_once
from penstock_kit.broken import must
from penstock_kit.capability import proves
from penstock_kit.kit import Kit, bodies
from penstock_kit.watched import WatchedConsumer, WatchedProducer, shut_down

KEYS = 8


class Ordering:
    """`ordering="queue"` includes `ordering="key"`."""

    @proves("ordering", "queue")
    def test_messages_come_in_the_order_they_were_produced(self, kit: Kit) -> None:
        """Across several produce and consume calls. Requeued messages come before later ones."""

        async def main() -> None:
            await _send(kit, range(60))
            async with kit.consumer() as consumer:
                first = await consumer.receive(20, at_once=7)
                await consumer.succeed(first[:10])
                await consumer.fail(first[10:])
                rest = await consumer.receive(50, at_once=9)
            numbers = _numbers([*first, *rest])
            must(
                numbers == [*range(20), *range(10, 60)],
                "a queue with order delivers in the order of producing, what was requeued before what is younger; "
                f"after 20, of which 10 to 19 were requeued, it went on with {numbers[20:]}"
                if numbers[:20] == [*range(20)]
                else f"a queue with order delivers in the order of producing; it began {numbers[:20]}",
                "where a message is put when it is requeued: in its old place, not behind the others"
                if numbers[:20] == [*range(20)]
                else "the order in which produce stores the records of a call, and consume takes them; a backend that "
                'has none declares ordering="none"',
            )

        kit.run(main)

    @proves("ordering", "key")
    def test_messages_of_a_key_come_in_the_order_they_were_produced(self, kit: Kit) -> None:
        """With real keys, across several calls and a redelivery."""

        async def main() -> None:
            await _send(kit, range(80))
            async with kit.consumer() as consumer:
                first = await consumer.receive(_most(kit, 40), at_once=7)
                half = len(first) // 2
                await consumer.succeed(first[:half])
                await consumer.fail(first[half:])
                rest = await kit.take(consumer, 80 - half, at_once=9)
            scenario = f"{half} of {len(first)} messages were requeued, the others of 80 followed"
            balance(_all(80), bodies([*first[:half], *rest]), scenario=scenario)
            _check_keys([*first[:half], *rest], scenario)

        kit.run(main)

    @proves("ordering", "key", probe=False)
    def test_order_survives_a_failure_of_every_message(self, kit: Kit) -> None:
        """Messages that were requeued one by one, the last first, come again in their order."""

        async def main() -> None:
            await _send(kit, range(24))
            async with kit.consumer() as consumer:
                first = await consumer.receive(_most(kit, 24))
                for message in reversed(first):
                    await consumer.fail([message])
                again = await kit.take(consumer, 24)
            scenario = f"{len(first)} messages were requeued one by one, the last first"
            balance(_all(24), bodies(again), scenario=scenario)
            _check_keys(again, scenario)

        kit.run(main)

    @at_least_once
    @proves("ordering", "key", probe=False)
    def test_order_survives_the_consumer(self, kit: Kit) -> None:
        """Messages that a closed consumer left come to the next consumer in order, before later ones."""

        async def main() -> None:
            await _send(kit, range(20))
            async with kit.consumer() as consumer:
                first = await consumer.receive(_most(kit, 20), at_once=6)
                await consumer.succeed(first[:5])
                await _send(kit, range(20, 40))
            async with kit.consumer() as consumer:
                rest = await kit.take(consumer, 35)
            scenario = f"a consumer closed with {len(first) - 5} messages in flight, another one went on"
            balance(_all(40), bodies([*first[:5], *rest]), scenario=scenario)
            _check_keys([*first[:5], *rest], scenario)

        kit.run(main)

    @proves("ordering", "key", probe=False)
    def test_order_by_key_holds_with_several_consumers(self, kit: Kit) -> None:
        """Two consumers share a queue; together they still see the messages of a key in order."""

        async def main() -> None:
            if kit.capabilities.ordering != "key":
                kit.not_promised("order by queue says nothing of consumers that work side by side")
            consumers = [kit.make_consumer() for _ in range(2)]
            async with kit.producer() as producer:
                try:
                    await asyncio.gather(*(each.connect() for each in consumers))
                    await kit.settle_in(consumers, producer)
                    await _produce(kit, producer, range(240))
                    seen = await _work(kit, consumers, 240)
                finally:
                    await shut_down(consumers)
            balance(_all(240), bodies(seen), scenario="two consumers shared 240 messages")
            _check_keys(seen, "two consumers shared 240 messages of 8 keys")

        kit.run(main)

    @proves("ordering", "key", probe=False)
    def test_order_by_key_survives_a_consumer_that_joins(self, kit: Kit) -> None:
        """Keys may move to the new consumer; the first deliveries of a key's messages still come in order."""

        async def main() -> None:
            if kit.capabilities.ordering != "key":
                kit.not_promised("order by queue says nothing of consumers that work side by side")
            first, second = kit.make_consumer(), kit.make_consumer()
            try:
                await first.connect()
                await _send(kit, range(240))
                seen = await kit.take(first, 30, at_once=10)
                await first.succeed(seen)
                await second.connect()
                seen += await _work(kit, [first, second], 210)
            finally:
                await shut_down([first, second])
            unsettled = 2 * 10 + kit.backend.settled_late
            balance(_all(240), bodies(seen), repeats=unsettled, scenario="a second consumer joined in the middle")
            _check_keys(_first_deliveries(seen), "a second consumer joined in the middle")

        kit.run(main)


async def _work(kit: Kit, consumers: Sequence[WatchedConsumer], count: int) -> list[QueueMessage]:
    """Let consumers work side by side, ten messages at a time, until so many different messages were seen."""
    seen: list[QueueMessage] = []
    different: set[bytes | None] = set()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 2 * kit.timeout

    async def work(consumer: WatchedConsumer) -> None:
        while len(different) < count and loop.time() < deadline:
            messages = await consumer.consume(10, kit.backend.idle_timeout)
            seen.extend(messages)
            different.update(bodies(messages))
            await consumer.succeed(messages)
            # Let the other consumers run.
            await asyncio.sleep(0)

    await asyncio.gather(*(work(each) for each in consumers))
    return seen


async def _send(kit: Kit, numbers: Sequence[int]) -> None:
    async with kit.producer() as producer:
        await _produce(kit, producer, numbers)


async def _produce(kit: Kit, producer: WatchedProducer, numbers: Sequence[int]) -> None:
    records = [kit.record(str(number).encode(), b"key-%d" % (number % KEYS)) for number in numbers]
    for start in range(0, len(records), 15):
        await producer.send(records[start : start + 15])


def _most(kit: Kit, count: int) -> int:
    """How many messages are to be in flight: so many, or as many as there are keys if each holds up its own."""
    return KEYS if kit.backend.holds_up_keys else count


def _all(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def _numbers(messages: Iterable[QueueMessage]) -> list[int]:
    return [int(message.message or b"-1") for message in messages]


def _first_deliveries(messages: Iterable[QueueMessage]) -> list[QueueMessage]:
    first: dict[bytes | None, QueueMessage] = {}
    for message in messages:
        first.setdefault(message.message, message)
    return list(first.values())


def _check_keys(messages: Iterable[QueueMessage], scenario: str) -> None:
    by_key: dict[int, list[int]] = defaultdict(list)
    for number in _numbers(messages):
        by_key[number % KEYS].append(number)
    for key, numbers in by_key.items():
        must(
            numbers == sorted(numbers),
            f"messages of a key come in the order of producing; {scenario}, and key-{key} came in the order {numbers}",
            "what is handed out while an older message of the same key is requeued or on its way to another consumer",
        )
