"""Mutants whose `claim` delivers other messages than the chosen ones, or changes those that it passes over."""

from __future__ import annotations

from collections.abc import Sequence

from mutants.reference import ReferenceConsumer
from penstock.message import QueueMessage


class ClaimsTheOldest(ReferenceConsumer):
    """Delivers as many as were asked for, from the front of the queue."""

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        return await self.consume(len(positions), 0)


class CountsWhatItPassesOver(ReferenceConsumer):
    """Consumes everything, and requeues what was not chosen."""

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        found = await self.consume(1_000, 0)
        await self.on_fail([message for message in found if message.position not in positions])
        return [message for message in found if message.position in positions]


class ClaimsWithoutAClaim(ReferenceConsumer):
    """Delivers messages that it does not hold, so that they cannot be settled."""

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:
        found = await super().claim(positions)
        self.opened().requeue(found, 0.0)
        return found


class ClaimsNothing(ReferenceConsumer):
    """Says that all of them are gone."""

    async def claim(self, positions: Sequence[str]) -> Sequence[QueueMessage]:  # noqa: ARG002
        return []
