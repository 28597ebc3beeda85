"""Mutants that settle wrongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from mutants.reference import ReferenceConsumer
from mutants.store import Store
from penstock.message import QueueMessage


def by_id(store: Store, change: str, messages: Sequence[QueueMessage], value: float = 0.0) -> None:
    """What a store does without a fence: it goes by the message's id alone."""
    for message in messages:
        store._db.execute(
            f"UPDATE deliveries SET {change} WHERE grp = ? AND id = ?", (store.group, message.message_context[0])
        )


class IgnoresFencing(ReferenceConsumer):
    """Settles by the message's id, whichever consumer has it by now."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        by_id(self.opened(), "settled = 1", messages)
        self.forget(messages)
        return 0


class CountsNothingLate(ReferenceConsumer):
    """Is fenced, and does not say so."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        await super().on_success(messages)
        return None


class FailsUnfenced(ReferenceConsumer):
    """Requeues what others have by now."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        by_id(self.opened(), "token = '', until = 0", messages)
        self.forget(messages)


class NackDoesNothing(ReferenceConsumer):
    """Leaves a failed message to its lease."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        pass


class AttemptsStuck(ReferenceConsumer):
    """Always the first attempt."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        for message in messages:
            message.attempts = 1
        return messages


class CountsForItself(ReferenceConsumer):
    """Counts deliveries in its own memory, which ends with it."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.counts: dict[int, int] = {}

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        for message in messages:
            number = message.message_context[0]
            message.attempts = self.counts[number] = self.counts.get(number, 0) + 1
        return messages


class SettlesByCount(ReferenceConsumer):
    """Settles as many as it is given, the oldest ones."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        return await super().on_success(list(self.held.values())[: len(messages)])


class SettlesWholeBatch(ReferenceConsumer):
    """Settles all messages of the batch that one of them came in."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        tokens = {message.message_context[1] for message in messages}
        await super().on_success([each for each in self.held.values() if each.message_context[1] in tokens])
        return 0


class GivesBackWholeBatch(ReferenceConsumer):
    """Requeues everything when one message fails."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        await super().on_fail(list(self.held.values()) if messages else (), delay)


class SettlesUpToTheLast(ReferenceConsumer):
    """As a client that commits the highest offset that was settled."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        last = max((message.message_context[0] for message in messages), default=0)
        return await super().on_success([each for number, each in self.held.items() if number <= last]) and 0


class RaisesWhenSettledTwice(ReferenceConsumer):
    """Takes a second settlement for a bug of its caller."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        for message in messages:
            del self.held[message.message_context[0]]
        return len(messages) - self.opened().settle(messages)


class KeepsTheObject(ReferenceConsumer):
    """Delivers the very object again that a function has had in its hands."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.known: dict[int, QueueMessage] = {}

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = []
        for found in await super().consume(max_messages, timeout):
            message = self.known.setdefault(found.message_context[0], found)
            message.message_context, message.attempts = found.message_context, found.attempts
            messages.append(message)
        return messages


class SettlesAfterTheClose(ReferenceConsumer):
    """Opens the backend again for a settlement that comes late."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        if self.store is None:
            store = self.open()
            by_id(store, "settled = 1", messages)
            store.close()
            return len(messages)
        return await super().on_success(messages)


class IgnoresDelay(ReferenceConsumer):
    """Requeues at once."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        await super().on_fail(messages, None)


class DelaysInTheWrongUnit(ReferenceConsumer):
    """Takes seconds for milliseconds."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        await super().on_fail(messages, delay / 1000 if delay else None)


class DoesNotExtend(ReferenceConsumer):
    """Lets leases end while their messages are worked on."""

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        pass


class ExtendsOnlyTheFirst(ReferenceConsumer):
    """Extends one message of those it is given."""

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        await super().extend(messages[:1])


class ExtendsUnfenced(ReferenceConsumer):
    """Takes back by `extend` what others have by now."""

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        for message in messages:
            number, token = message.message_context
            self.opened()._db.execute("UPDATE deliveries SET token = ? WHERE id = ?", (token, number))
        await super().extend(messages)


class SaysNoLease(ReferenceConsumer):
    """Has leases, and does not say how long they are."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.lease = None


class SettlesTheFirstThousand(ReferenceConsumer):
    """Cuts what is too much for one call."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        return await super().on_success(messages[:1000])


class CountsInFlightAsLate(ReferenceConsumer):
    """Takes the number of messages for the number of late ones."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        await super().on_success(messages)
        return len(messages) if len(messages) > 1000 else 0


class TakesRequeuesForDeaths(ReferenceConsumer):
    """Counts deliveries, whatever became of them."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        for message in messages:
            message.abandoned = message.attempts - 1
        return messages


class SeesNoDeath(ReferenceConsumer):
    """Says of each message that nothing is known against it."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        for message in messages:
            message.abandoned = 0
        return messages


class ForgetsBegunCalls(ReferenceConsumer):
    """Records a call in its own memory only."""

    async def begin_call(self, messages: Sequence[QueueMessage]) -> None:  # noqa: ARG002
        await self.backend.answer()


class CountsClaims(ReferenceConsumer):
    """Records a call of all that it hands out, whether it is called or not."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        await self.begin_call([message for message in messages if message.abandoned])
        return messages


class KeepsEndedCalls(ReferenceConsumer):
    """Leaves the records of calls that ended."""

    async def end_call(self, messages: Sequence[QueueMessage]) -> None:  # noqa: ARG002
        await self.backend.answer()


class CutsDelays(ReferenceConsumer):
    """Requeues after the whole seconds of a delay."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        await super().on_fail(messages, int(delay) if delay else None)


class CountsUntilARestart(ReferenceConsumer):
    """Its server counts deliveries in memory."""

    counts: ClassVar[Counter[tuple[str, str, str]]] = Counter()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        for message in messages:
            delivery = self.options.path, self.backend.start(), message.position
            self.counts[delivery] += 1
            message.attempts = self.counts[delivery]
        return messages
