"""Mutants that connect, close or are configured wrongly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from mutants.reference import ReferenceConsumer, ReferenceProducer
from penstock.errors import ConnectorError, NotConnected
from penstock.message import QueueMessage


class LeaksAThread(ReferenceConsumer):
    """Its heartbeat goes on."""

    async def connect(self) -> None:
        await super().connect()
        threading.Thread(target=threading.Event().wait, args=(30,), daemon=True).start()


class LeaksAFile(ReferenceProducer):
    """Never closes its connection."""

    kept: ClassVar[list[Any]] = []

    async def shutdown(self) -> None:
        self.kept.append(self.store)
        self.store = None


class LeaksATask(ReferenceConsumer):
    """Its background task goes on."""

    async def connect(self) -> None:
        await super().connect()
        self.task = asyncio.create_task(asyncio.sleep(30))


class FailsToCloseTwice(ReferenceConsumer):
    """Closes what is not there."""

    async def shutdown(self) -> None:
        self.opened()
        await super().shutdown()


class FailsToCloseUnopened(ReferenceProducer):
    """Closes what was never there."""

    async def shutdown(self) -> None:
        if not hasattr(self, "closed"):
            self.opened()
        self.closed = True
        await super().shutdown()


class WaitsForItsMessages(ReferenceConsumer):
    """Does not close before all it gave out is settled."""

    async def shutdown(self) -> None:
        while self.held:
            await asyncio.sleep(0.05)
        await super().shutdown()


class OpensWhenMade(ReferenceConsumer):
    """Connects in its constructor."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.store = self.open()


class ConnectsTwice(ReferenceConsumer):
    """Each `connect` subscribes once more, and every subscription brings every message."""

    subscriptions = 0

    async def connect(self) -> None:
        await super().connect()
        self.subscriptions += 1

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = list(await super().consume(max(1, max_messages // self.subscriptions), timeout))
        return (messages * self.subscriptions)[:max_messages]


class ForgetsWhenConnectedAgain(ReferenceConsumer):
    """`connect` settles what was in flight, to begin with a clean slate."""

    async def connect(self) -> None:
        await super().connect()
        self.opened().settle(list(self.held.values()))


class SeesNoOutage(ReferenceConsumer):
    """Takes a server that is away for an empty queue."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        try:
            return await super().consume(max_messages, timeout)
        except NotConnected:
            await asyncio.sleep(timeout)
            return ()


class RaisesItsClientsErrors(ReferenceConsumer):
    """Lets the client's errors through."""

    async def connect(self) -> None:
        try:
            await super().connect()
        except NotConnected as error:
            raise OSError(str(error)) from error


class ConnectsToNothing(ReferenceProducer):
    """Asks the server nothing before the first record."""

    async def connect(self) -> None:
        self.options.model_dump()


class GivesUpAtStart(ReferenceConsumer):
    """A server that is down when the worker starts is the end."""

    async def connect(self) -> None:
        try:
            await super().connect()
        except NotConnected as error:
            if Path(self.options.path).exists():
                raise ConnectorError(f"cannot start: {error}") from error
            raise


class LosesOnReconnect(ReferenceConsumer):
    """After an outage, what was in flight is taken for done."""

    async def connect(self) -> None:
        await super().connect()
        self.opened().settle(list(self.held.values()))
        self.held.clear()

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        return await super().on_success([m for m in messages if m.message_context[0] in self.held])


class ShowsThePassword(ReferenceConsumer):
    """Has a repr for debugging."""

    def __repr__(self) -> str:
        secret = self.options.password
        return f"<consumer of {self.name}, {secret.get_secret_value() if secret else 'no password'}>"
