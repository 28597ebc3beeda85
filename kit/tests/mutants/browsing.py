"""Mutants whose `browse` changes the queue, or does not show it as it is."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mutants.reference import ReferenceConsumer
from penstock.errors import ConnectorError
from penstock.message import BrowsedMessage, QueueMessage


class LeasesWhileBrowsing(ReferenceConsumer):
    """Takes the messages that it shows, and requeues them at its end."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        found = await super().browse(limit, after)
        self.held.update({each.message_context[0]: each for each in self.opened().take(limit, self.options.lease)})
        return found


class CountsWhileBrowsing(ReferenceConsumer):
    """Takes the messages that it shows, and requeues them at once."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        found = await super().browse(limit, after)
        self.opened().requeue(self.opened().take(limit, self.options.lease), 0.0)
        return found


class ProlongsWhileBrowsing(ReferenceConsumer):
    """Lets the leases of what it shows begin anew."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        found = await super().browse(limit, after)
        with self.opened()._transaction() as db:
            db.executemany(
                "UPDATE deliveries SET until = ? WHERE id = ? AND token != '' AND until > ?",
                [(time.time() + self.options.lease, int(each.position), time.time()) for each in found],
            )
        return found


class SettlesWhileBrowsing(ReferenceConsumer):
    """Moves its group behind what it shows."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        found = await super().browse(limit, after)
        self.opened().settle(self.opened().take(limit, self.options.lease))
        return found


class BrowsesWhatWaits(ReferenceConsumer):
    """Does not show what others have."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        return [each for each in await super().browse(limit, after) if each.state != "leased"]


class BrowsesFromTheStart(ReferenceConsumer):
    """Whatever it was told to go on behind."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:  # noqa: ARG002
        return await super().browse(limit)


class BrowsesByCount(ReferenceConsumer):
    """Remembers how many it has shown, not where it was."""

    shown = 0

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        if after is None:
            self.shown = 0
        found = (await super().browse(1_000))[self.shown :][:limit]
        self.shown += len(found)
        return found


class BrowsesMoreThanAsked(ReferenceConsumer):
    """In pages of its own."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        return await super().browse(10 * limit, after)


class BrowsesDeliveries(ReferenceConsumer):
    """Returns what `consume` would."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        found = await super().browse(limit, after)
        return [QueueMessage(None, each.message, each.key, position=each.position) for each in found]  # type: ignore[misc]


class BrowsesOnlyWhenConnected(ReferenceConsumer):
    """So that a tool has to join before it can look."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        if self.store is None:
            raise ConnectorError("not connected")
        return await super().browse(limit, after)


class SaysThatAllWaits(ReferenceConsumer):
    """Also of what a consumer has."""

    async def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        found = await super().browse(limit, after)
        for each in found:
            each.state = "waiting"
        return found
