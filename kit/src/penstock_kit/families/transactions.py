"""Transactions: outputs are stored and their inputs settled together, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from penstock.connectors import Transacted
from penstock.message import QueueMessage, Record
from penstock_kit.accounts import balance
from penstock_kit.broken import must
from penstock_kit.capability import declares, proves
from penstock_kit.kit import Kit, bodies, numbered
from penstock_kit.watched import WatchedConsumer, WatchedProducer, call

LOOK = "transact(): records are stored and messages settled in one transaction, which is rolled back unless all is well"

Outputs = Sequence[tuple[WatchedProducer, Sequence[bytes | Record]]]


class Transactions:
    """The capability `transactions`, which `delivery: exactly_once` needs."""

    @proves("transactions")
    def test_outputs_show_with_the_settlement_of_their_inputs(self, kit: Kit) -> None:
        """Together and once, even if the transaction is tried again, as after a commit whose answer was lost."""

        async def main() -> None:
            await kit.send(*numbered(3))
            left, right = f"{kit.queue}-left", f"{kit.queue}-right"
            async with kit.consumer() as consumer, kit.producer(left) as to_left, kit.producer(right) as to_right:
                messages = await consumer.receive(3)
                outputs: Outputs = [(to_left, [b"a", b"b"]), (to_right, [b"c"])]
                done = await _transact(consumer, messages, outputs)
                must(done.committed, f"transact with messages that are ours commits; it answered {done}", LOOK)
                again = await _transact(consumer, messages, outputs)
                must(
                    _same(again.lost, messages),
                    f"transact again with messages that it has settled names them as lost; it answered {again}",
                    "transact(): the fence that tells whether a message is still ours",
                )
            scenario = "a transaction was committed, and tried again"
            for queue, sent in ((left, [b"a", b"b"]), (right, [b"c"])):
                async with kit.consumer(queue) as reader:
                    balance(
                        sent,
                        bodies([*await reader.receive(len(sent)), *await reader.rest()]),
                        scenario=scenario,
                        look=LOOK,
                    )
            async with kit.consumer() as other:
                balance((), bodies(await other.rest()), scenario=scenario, look=LOOK)

        kit.run(main)

    @proves("transactions", probe=False)
    def test_a_transaction_with_a_lost_message_does_nothing(self, kit: Kit) -> None:
        """It names the lost message. The others are still ours, and can be tried without it."""

        async def main() -> None:
            await kit.send(*numbered(3))
            async with _stage(kit) as (consumer, producer, reader):
                messages = await consumer.receive(3)
                # A settled message counts as lost, as if its lease had ended.
                await consumer.succeed(messages[:1])
                done = await _transact(consumer, messages, [(producer, [b"early"])])
                must(
                    _same(done.lost, messages[:1]),
                    f"transact names the one message that was no longer ours; it answered {done}",
                    "transact(): the fence that tells whether a message is still ours",
                )
                scenario = "a transaction had a message that was lost"
                balance((), bodies(await reader.rest()), scenario=scenario, look=LOOK)
                done = await _transact(consumer, messages[1:], [(producer, [b"late"])])
                must(done.committed, f"the others are still ours, and can be tried alone; it answered {done}", LOOK)
                balance([b"late"], bodies(await reader.receive(1)), scenario="the rest was tried alone", look=LOOK)

        kit.run(main)

    @proves("transactions", probe=False)
    def test_two_deliveries_of_a_message_are_not_settled_as_one(self, kit: Kit) -> None:
        """After a lease has ended, one consumer may have a message twice: in a transaction with both deliveries, the
        older one is lost."""
        kit.needs("lease")
        if not declares(kit.capabilities, "lease"):
            kit.not_promised("without leases a message in flight is not delivered again")

        async def main() -> None:
            await kit.send(b"x", **kit.backend.short_lease)
            output = f"{kit.queue}-output"
            async with (
                kit.consumer(**kit.backend.short_lease) as consumer,
                kit.producer(output) as producer,
                kit.consumer(output) as reader,
            ):
                older = await consumer.receive(1)
                # Neither settled nor extended, as during an outage.
                newer = await consumer.receive(1, timeout=kit.timeout + (consumer.lease or 0))
                scenario = "one consumer got a message again when its lease had ended"
                balance([b"x"], bodies(newer), scenario=scenario, look="what happens in the backend when a lease ends")
                done = await _transact(consumer, [*older, *newer], [(producer, [b"of the older", b"of the newer"])])
                must(
                    _same(done.lost, older),
                    f"{scenario}; transact with both deliveries names the older one as lost; it answered {done}",
                    "transact(): compare the token of each delivery, not the number of its message",
                )
                balance((), bodies(await reader.rest()), scenario=scenario, look=LOOK)
                done = await _transact(consumer, newer, [(producer, [b"of the newer"])])
                must(done.committed, f"the newer delivery is ours, and can be tried alone; it answered {done}", LOOK)
                scenario = "the newer one of two deliveries was tried alone"
                balance([b"of the newer"], bodies([*await reader.receive(1), *await reader.rest()]), scenario=scenario)

        kit.run(main)

    @proves("transactions", probe=False)
    def test_a_transaction_with_a_refused_record_does_nothing(self, kit: Kit) -> None:
        """It names the record and the reason. The messages are still ours, and can be tried without it."""
        kit.needs("refuse")

        async def main() -> None:
            source, (settings, bad) = f"{kit.queue}-source", kit.refusing()
            await kit.send(*numbered(2), queue=source)
            async with kit.consumer(source) as consumer, _stage(kit) as (_input, producer, reader):
                refusing = kit.make_producer_of(settings)
                await refusing.connect()
                try:
                    messages = await consumer.receive(2)
                    outputs: Outputs = [(producer, [b"a"]), (refusing, [b"b", bad])]
                    done = await _transact(consumer, messages, outputs)
                    named = [(refusal.output, refusal.record, refusal.error.retriable) for refusal in done.refused]
                    must(
                        named == [(1, 1, False)],
                        "transact names the record that the backend never takes, by its output and its place, with an "
                        f"error that is not retriable; it answered {done}",
                        "transact(): its answer `refused`",
                    )
                    scenario = "a transaction had a record that was refused"
                    balance((), bodies(await reader.rest()), scenario=scenario, look=LOOK)
                    done = await _transact(consumer, messages, [(producer, [b"c"])])
                    must(done.committed, f"the messages are still ours; transact answered {done}", LOOK)
                    balance([b"c"], bodies(await reader.receive(1)), scenario="it was tried without it", look=LOOK)
                finally:
                    await refusing.shutdown()

        kit.run(main)


@asynccontextmanager
async def _stage(kit: Kit) -> AsyncIterator[tuple[WatchedConsumer, WatchedProducer, WatchedConsumer]]:
    """A consumer of the test's queue, and a producer and a reader of an output."""
    output = f"{kit.queue}-output"
    async with kit.consumer() as consumer, kit.producer(output) as producer, kit.consumer(output) as reader:
        yield consumer, producer, reader


async def _transact(consumer: WatchedConsumer, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
    for producer, _records in outputs:
        problem = consumer.inner.transaction_problem(producer.inner)
        must(
            problem is None,
            f"queues of one backend can be written in one transaction; transaction_problem says: {problem}",
            "transaction_problem(): it answers None for a producer on the same server, or do not declare transactions",
        )
    async with call("transact", 30.0, "a transaction must not wait for messages"):
        return await consumer.inner.transact(
            messages,
            [
                (producer.inner, [each if isinstance(each, Record) else Record(each) for each in records])
                for producer, records in outputs
            ],
        )


def _same(some: Sequence[QueueMessage], others: Sequence[QueueMessage]) -> bool:
    return sorted(map(id, some)) == sorted(map(id, others))
