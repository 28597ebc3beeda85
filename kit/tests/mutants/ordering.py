"""A correct connector that orders by key, and mutants of either order."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mutants.reference import ReferenceConsumer
from mutants.store import Store
from penstock.message import QueueMessage, Record

# No consumer holds a message of the same key, and no older one waits for its delay.
KEY_IS_FREE = """
AND NOT EXISTS (SELECT 1 FROM messages o JOIN deliveries h ON h.id = o.id AND h.grp = :grp
    WHERE o.queue = :queue AND o.key IS m.key AND h.settled = 0 AND h.until > :now AND h.token != :mine)
"""


class KeyStore(Store):
    """Hands out a key's messages to one consumer at a time; keys have no order among each other."""

    order = "m.key, m.id"


class ReferenceByKeyConsumer(ReferenceConsumer):
    """While one consumer holds messages of a key, no other one gets any of it."""

    def open(self) -> Store:
        return KeyStore(self.options.path, self.name, self.options.group)

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        # One batch at a time holds a key: its own earlier batches count as others.
        self.opened().condition = KEY_IS_FREE.replace(":mine", "''") if not self.held else self._but_mine()
        return await super().consume(max_messages, timeout)

    def _but_mine(self) -> str:
        tokens = {message.message_context[1] for message in self.held.values()}
        mine = ",".join(f"'{token}'" for token in tokens)
        return KEY_IS_FREE.replace("h.token != :mine", f"h.token NOT IN ({mine}, '')")


class Shuffles(ReferenceConsumer):
    """In any order."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = list(await super().consume(max_messages, timeout))
        random.Random(1).shuffle(messages)
        return messages


class NewestBatchFirst(ReferenceConsumer):
    """Each batch is in order, the batches are not."""

    def open(self) -> Store:
        store = super().open()
        store.order = "m.id / 7 DESC, m.id"
        return store


class GivesBackBehind(ReferenceConsumer):
    """Sends what failed anew, behind all others."""

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        store = self.opened()
        store.settle(messages)
        store.add([Record(m.message, m.key, m.headers, delay or 0.0) for m in messages])
        self.forget(messages)


class GivesBackInAnyOrder(ReferenceByKeyConsumer):
    """Delivers again in the order of failing, as from a list."""

    def open(self) -> Store:
        store = super().open()
        store.order = "coalesce(d.until, 9e9), m.key, m.id"
        return store

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:  # noqa: ARG002
        self.failures = getattr(self, "failures", 0) + 1
        store = self.opened()
        store._update("token = '', until = :value", messages, float(self.failures))
        self.forget(messages)


class LeavesBehind(ReferenceByKeyConsumer):
    """When it closes, what it held goes behind everything."""

    async def shutdown(self) -> None:
        if self.store is not None:
            held = list(self.held.values())
            self.store.settle(held)
            self.store.add([Record(m.message, m.key, m.headers) for m in held])
        await super().shutdown()


class SharesKeys(ReferenceByKeyConsumer):
    """Hands out a key to several consumers at once, each going its own work_seconds."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        self.opened().order = "m.id" if id(self) % 2 else "m.id % 5, m.id"
        self.opened().condition = ""
        return await ReferenceConsumer.consume(self, max_messages, timeout)


class HandsOverInTheMiddle(ReferenceByKeyConsumer):
    """A consumer that joins begins with the newest messages of its keys."""

    joined_late = False

    async def connect(self) -> None:
        await super().connect()
        count = self.opened()._db.execute("SELECT count(*) FROM deliveries").fetchone()[0]
        self.opened().order = "m.id DESC" if count else "m.key, m.id"
