"""Mutants whose transactions are none."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mutants.reference import ReferenceConsumer, ReferenceProducer, refusals
from penstock.connectors import Consumer, Producer, Refusal, Transacted
from penstock.errors import ProduceError
from penstock.message import QueueMessage, Record

BETWEEN = 0.2  # seconds

Outputs = Sequence[tuple[Producer, Sequence[Record]]]


def store(outputs: Outputs) -> None:
    """Store what is not refused, outside of any transaction."""
    for producer, records in outputs:
        if isinstance(producer, ReferenceProducer):
            producer.opened().add([record for record in records if producer.refusal(record) is None])


class HasNoTransactions(ReferenceConsumer):
    """Declares them, and has what every consumer has."""

    transact = Consumer.transact
    transaction_problem = Consumer.transaction_problem


class ForgetsToStore(ReferenceConsumer):
    """Settles the inputs only."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:  # noqa: ARG002
        return await super().transact(messages, [])


class ForgetsToSettle(ReferenceConsumer):
    """Stores the outputs only."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:  # noqa: ARG002
        store(outputs)
        return Transacted()


class StoresWhatIsTriedAgain(ReferenceConsumer):
    """Takes inputs that it has settled before for settled now."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
        done = await super().transact(messages, outputs)
        if len(done.lost) == len(messages):
            store(outputs)
            return Transacted()
        return done


class StoresTheRest(ReferenceConsumer):
    """Leaves a lost input out by itself, though it is not known which outputs were made of it."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
        done = await super().transact(messages, outputs)
        if 0 < len(done.lost) < len(messages):
            lost = set(done.lost)
            await super().transact([message for message in messages if message not in lost], outputs)
        return done


class SettlesByNumber(ReferenceConsumer):
    """Asks which messages were deleted, not which deliveries of them: it may have two of one."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
        done = await super().transact(messages, outputs)
        ours = [message for message in messages if message not in done.lost]
        numbers = {message.message_context[0] for message in ours}
        if done.lost and all(message.message_context[0] in numbers for message in done.lost):
            return await super().transact(ours, outputs)
        return done


class StoresFirst(ReferenceConsumer):
    """Produces, then settles: one after the other."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
        store(outputs)
        return await super().transact(messages, [])


class StoresThenSettles(ReferenceConsumer):
    """Produces, and settles a moment later, if it comes to that."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
        store(outputs)
        await asyncio.sleep(BETWEEN)
        return await super().transact(messages, [])


class SettlesInSpiteOfRefusals(ReferenceConsumer):
    """Stores what is not refused, and settles."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
        refused = refusals(outputs)
        if refused:
            store(outputs)
            await super().transact(messages, [])
        return Transacted(refused=refused) if refused else await super().transact(messages, outputs)


class SaysNotWhichIsRefused(ReferenceConsumer):
    """Blames the first record for what another one did."""

    async def transact(self, messages: Sequence[QueueMessage], outputs: Outputs) -> Transacted:
        done = await super().transact(messages, outputs)
        if done.refused:
            return Transacted(refused=[Refusal(0, 0, ProduceError("something is too large", retriable=False))])
        return done
