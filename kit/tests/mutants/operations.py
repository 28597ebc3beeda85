"""Mutants whose `backlog`, `follow` or `create` changes the queue, or does not say how it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mutants.reference import ReferenceConsumer, ReferenceProducer
from penstock.connectors import Backlog, Created
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage


class CountsWhatIsHeldAsWaiting(ReferenceConsumer):
    """And as in flight."""

    async def backlog(self) -> Backlog:
        found = await super().backlog()
        return replace(found, waiting=(found.waiting or 0) + (found.in_flight or 0))


class CountsWhatIsDelayedAsWaiting(ReferenceConsumer):
    """Although none of it can be delivered."""

    async def backlog(self) -> Backlog:
        found = await super().backlog()
        return replace(found, waiting=(found.waiting or 0) + (found.delayed or 0), delayed=0)


class CountsWhatWasSettled(ReferenceConsumer):
    """All that is in the log."""

    async def backlog(self) -> Backlog:
        await super().backlog()
        return Backlog(waiting=len(self.opened().browse(1_000, 0)))


class TellsAMillisecond(ReferenceConsumer):
    """As the time of the oldest message."""

    async def backlog(self) -> Backlog:
        found = await super().backlog()
        return replace(found, oldest=None if found.oldest is None else found.oldest * 1000)


class CountsOnlyWhenConnected(ReferenceConsumer):
    """So that a tool has to join before it can count."""

    async def backlog(self) -> Backlog:
        if self.store is None:
            raise ConnectorError("not connected")
        return await super().backlog()


class LeasesWhileCounting(ReferenceConsumer):
    """Takes the messages that it counts, and requeues them at once."""

    async def backlog(self) -> Backlog:
        found = await super().backlog()
        self.opened().requeue(self.opened().take(100, self.options.lease), 0.0)
        return found


class SettlesWhileCounting(ReferenceConsumer):
    """Moves its group to the end of the log."""

    async def backlog(self) -> Backlog:
        found = await super().backlog()
        self.opened().settle(self.opened().take(100, self.options.lease))
        return found


class FollowsFromTheStart(ReferenceConsumer):
    """Shows what was there before, too."""

    shown = 0

    async def follow(self, timeout: float) -> Sequence[BrowsedMessage]:  # noqa: ARG002
        found = await self.browse(1_000, str(self.shown))
        self.shown = int(found[-1].position) if found else self.shown
        return found


class TakesWhatItFollows(ReferenceConsumer):
    """By deliveries."""

    begun = False

    async def follow(self, timeout: float) -> Sequence[BrowsedMessage]:  # noqa: ARG002
        await self.browse(1)
        taken = self.opened().take(1_000, self.options.lease)
        self.opened().requeue(taken, 0.0)
        new = [each for each in taken if each.attempts == 1] if self.begun else []
        self.begun = True
        return [BrowsedMessage(each.message, each.position, key=each.key) for each in new]


class CreatesAnew(ReferenceProducer):
    """Empties a queue that is there."""

    async def create(self) -> Created:
        made = await super().create()
        store = self.open()
        store._db.execute("DELETE FROM messages WHERE queue = ?", (self.name,))
        store.close()
        return made


class AlwaysCreates(ReferenceProducer):
    """Says so, also of a queue that is there."""

    async def create(self) -> Created:
        return replace(await super().create(), existed=False)


class FailsIfItExists(ReferenceProducer):
    """As a server does."""

    async def create(self) -> Created:
        made = await super().create()
        if made.existed:
            raise ConnectorError("the queue exists")
        return made
