"""Mutants whose `probe` changes the queue, or finds fault with one that works."""

from __future__ import annotations

from collections.abc import Sequence

from mutants.reference import ReferenceConsumer
from penstock.connectors import Probed
from penstock.errors import FatalConnectorError


class TakesWhileProbing(ReferenceConsumer):
    """Takes a message to see whether it may."""

    async def probe(self) -> Sequence[Probed]:
        if self.store is not None:
            self.store.take(1, self.options.lease)
        return [Probed("authorised", True, "may read")]


class CountsWhileProbing(ReferenceConsumer):
    """Takes a message, and requeues it at once."""

    async def probe(self) -> Sequence[Probed]:
        if self.store is not None:
            self.store.requeue(self.store.take(1, self.options.lease), 0.0)
        return [Probed("authorised", True, "may read")]


class ProbesWhatItHasNot(ReferenceConsumer):
    """Asks about another queue."""

    async def probe(self) -> Sequence[Probed]:
        raise FatalConnectorError("no such queue; create it")
