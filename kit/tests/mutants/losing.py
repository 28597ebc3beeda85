"""Mutants that lose messages, deliver them twice, or let them wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

from mutants.reference import ReferenceConsumer
from mutants.store import Store
from penstock.message import QueueMessage

FOR_EVER = 1e9  # seconds


class LosesOnClose(ReferenceConsumer):
    """Settles what is in flight when it closes."""

    async def shutdown(self) -> None:
        if self.store is not None:
            self.store.settle(list(self.held.values()))
        await super().shutdown()


class SettlesAtConsume(ReferenceConsumer):
    """As a client with auto-commit: what is handed out, is gone."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        self.opened().settle(messages)
        return messages

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.forget(messages)
        return 0

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        by_token = [message.message_context for message in messages]
        for number, token in by_token:
            self.opened()._db.execute(
                "UPDATE deliveries SET settled = 0, until = 0 WHERE id = ? AND token = ?", (number, token)
            )
        self.forget(messages)

    async def shutdown(self) -> None:
        if self.store is not None:
            await self.on_fail(list(self.held.values()))
        await super().shutdown()


class KeepsFailuresToItself(ReferenceConsumer):
    """Settles what failed, and delivers it again from its own memory, which ends with it."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.again: list[QueueMessage] = []

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        again, self.again = self.again[:max_messages], self.again[max_messages:]
        return again or await super().consume(max_messages, timeout)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        self.opened().settle(messages)
        for message in messages:
            message.attempts += 1
        self.again += messages


class LosesDelayedOnClose(ReferenceConsumer):
    """What waits for its delay to end waits in memory."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        if delay and delay > 1.5:
            self.opened().settle(messages)
        else:
            await super().on_fail(messages, delay)


class GivesUpSilently(ReferenceConsumer):
    """Drops what has failed a few times."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        self.opened().settle([message for message in messages if message.attempts >= 10])
        await super().on_fail([message for message in messages if message.attempts < 10], delay)


class LosesWhatItFetchedAhead(ReferenceConsumer):
    """Fetches in portions of 20, settles them on the way, and forgets at the end what was not consumed."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.ahead: list[QueueMessage] = []

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        if not self.ahead:
            self.ahead = list(self.opened().take(20, self.options.lease)) if timeout > 0 else []
        handed, self.ahead = self.ahead[:max_messages], self.ahead[max_messages:]
        if not handed:
            return await super().consume(max_messages, timeout)
        self.held.update({message.message_context[0]: message for message in handed})
        return handed

    async def shutdown(self) -> None:
        if self.store is not None:
            self.store.settle(self.ahead)
        await super().shutdown()


class HoldsFetchedForEver(LosesWhatItFetchedAhead):
    """What it has fetched in portions of 20 is leased for ever, and is not requeued."""

    async def shutdown(self) -> None:
        if self.store is not None:
            self.store.extend(self.ahead, FOR_EVER)
        await super().shutdown()


class LeaseNeverEnds(ReferenceConsumer):
    """A dead consumer keeps its messages."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        self.opened().extend(messages, FOR_EVER)
        return messages


class DeliversTwice(ReferenceConsumer):
    """Hands out every seventh message a second time."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = list(await super().consume(max(1, max_messages // 2), timeout))
        return messages + [message for message in messages if message.message_context[0] % 7 == 0][: max_messages // 2]


class StartsAtTheEnd(ReferenceConsumer):
    """As a client whose default is "latest": what was there before its group is never read."""

    async def connect(self) -> None:
        await super().connect()
        self.opened().condition = f"AND m.id > {self._newest()}"

    def _newest(self) -> int:
        newest: int = self.opened()._db.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]
        return newest


class ReplaysFromTheEnd(StartsAtTheEnd):
    """Does not read what was there before its group came, unless it is the first group."""

    def _newest(self) -> int:
        return super()._newest() if self.options.group == "later" else 0


class SkipsToTheEndAfterARestart(StartsAtTheEnd):
    """When the connection was lost it begins anew, behind everything that is there."""

    connections = 0

    def _newest(self) -> int:
        self.connections += 1
        return super()._newest() if self.connections > 1 else 0


class RemembersForItself(ReferenceConsumer):
    """Its position is its own: what it has settled comes to the next consumer again."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.opened().extend(messages, FOR_EVER)
        return 0

    async def shutdown(self) -> None:
        if self.store is not None:
            self.store._db.execute("UPDATE deliveries SET until = 0 WHERE settled = 0")
        await super().shutdown()


class MixesGroups(ReferenceConsumer):
    """Declares groups, and has one."""

    def open(self) -> Store:
        return Store(self.options.path, self.name, "main")


class GroupOfItsOwn(ReferenceConsumer):
    """Every consumer is a group by itself."""

    def open(self) -> Store:
        return Store(self.options.path, self.name, f"{self.options.group}-{id(self)}")


class MixesQueues(ReferenceConsumer):
    """Cuts long names, so that queues whose names begin alike become one."""

    def open(self) -> Store:
        store = super().open()
        store.queue = store.queue.split("-2")[0].rstrip("2")
        return store


class SharesBetweenQueues(ReferenceConsumer):
    """Has one buffer for all consumers of the process."""

    buffer: ClassVar[list[QueueMessage]] = []

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        if not self.buffer:
            self.buffer.extend(await super().consume(100, timeout))
        await asyncio.sleep(0)
        portion = max(1, max_messages // 2)
        messages = self.buffer[:portion]
        del self.buffer[:portion]
        return messages


class TakesEverything(ReferenceConsumer):
    """The first consumer takes all there is into its own memory, and hands it out bit by bit."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.ahead: list[QueueMessage] = []

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        self.ahead += self.opened().take(100_000, self.options.lease)
        if not self.ahead:
            self.ahead += await super().consume(100_000, timeout)
        messages, self.ahead = self.ahead[:max_messages], self.ahead[max_messages:]
        self.held.update({message.message_context[0]: message for message in messages})
        return messages

    async def shutdown(self) -> None:
        if self.store is not None:
            self.store.requeue(self.ahead, 0.0)
        await super().shutdown()


class ForgetsWhileBlocked(TakesEverything):
    """What it has fetched ahead is dropped when `consume` is not called for a while."""

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        if len(messages) == 30:
            self.opened().settle(self.ahead)
            self.ahead.clear()
        return await super().on_success(messages)


class Starves(ReferenceConsumer):
    """Delivers nothing else while a message that has failed waits for its success."""

    failing: set[int]

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.failing = set()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        numbers = ",".join(map(str, self.failing))
        self.opened().condition = f"AND m.id IN ({numbers})" if numbers else ""
        return await super().consume(max_messages, timeout)

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        self.failing.update(message.message_context[0] for message in messages)
        await super().on_fail(messages, delay)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.failing.difference_update(message.message_context[0] for message in messages)
        return await super().on_success(messages)


class StealsWhenOpening(ReferenceConsumer):
    """When it connects, it frees whatever is held, by whomever."""

    async def connect(self) -> None:
        await super().connect()
        self.opened()._db.execute("UPDATE deliveries SET token = '', until = 0 WHERE settled = 0")


class SettlesWhenOthersJoin(ReferenceConsumer):
    """As a group member that commits all it has fetched, done or not, before its share changes."""

    members: ClassVar[list[str]] = []

    async def connect(self) -> None:
        await super().connect()
        self.members.append(self.name)
        self.known = self.members.count(self.name)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        if self.members.count(self.name) != self.known:
            self.opened().settle(list(self.held.values()))
        return await super().consume(max_messages, timeout)


class StaysAwayAfterARestart(ReferenceConsumer):
    """Connects again, and does not subscribe again."""

    connections = 0

    async def connect(self) -> None:
        await super().connect()
        self.connections += 1

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        if self.connections == 1:
            return await super().consume(max_messages, timeout)
        await asyncio.sleep(timeout)
        return ()


class LosesWhatItOnlyLookedAt(ReferenceConsumer):
    """A consumer that never consumed settles, when it closes, what it would have got next."""

    async def shutdown(self) -> None:
        if self.store is not None and not self.held:
            self.store.settle(self.store.take(1, self.options.lease))
        await super().shutdown()
