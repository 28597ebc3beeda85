"""Mutants whose `consume` and `lag` do not do what the engine relies on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from mutants.reference import ReferenceConsumer
from penstock.message import QueueMessage

SLOW = 3.0  # seconds


class AnswersNone(ReferenceConsumer):
    """When there is nothing."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return await super().consume(max_messages, timeout) or None  # type: ignore[return-value]


class AnswersAGenerator(ReferenceConsumer):
    """Of the messages that it has."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, timeout)
        return (message for message in messages)  # type: ignore[return-value]


class ReturnsMoreThanAsked(ReferenceConsumer):
    """In portions of its client."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return await super().consume(max(max_messages, 10), timeout)


class HangsOnEmpty(ReferenceConsumer):
    """Waits until there is a message, however long."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:  # noqa: ARG002
        return await super().consume(max_messages, 1e6)


class HotOnEmpty(ReferenceConsumer):
    """Looks once, and returns."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:  # noqa: ARG002
        return await super().consume(max_messages, 0)


class WaitsForAFullBatch(ReferenceConsumer):
    """Sits out its timeout, or gets all it was asked for."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        deadline = time.monotonic() + timeout
        messages: list[QueueMessage] = []
        while len(messages) < max_messages and (left := deadline - time.monotonic()) > 0:
            messages += await super().consume(max_messages - len(messages), left)
        return messages


class LooksSeldom(ReferenceConsumer):
    """Looks every three seconds."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        messages = await super().consume(max_messages, 0)
        if not messages and timeout > 0:
            await asyncio.sleep(min(timeout, SLOW))
            messages = await super().consume(max_messages, 0)
        return messages


class OneLockForAll(ReferenceConsumer):
    """Nothing is settled while `consume` waits."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.lock = asyncio.Lock()

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        async with self.lock:
            return await super().consume(max_messages, timeout)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        async with self.lock:
            return await super().on_success(messages)


class BlocksTheLoop(ReferenceConsumer):
    """A client that blocks, in a coroutine."""

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:  # noqa: ARG002
        messages = await super().consume(max_messages, 0)
        if not messages:
            time.sleep(2 * SLOW)
        return messages


class LagIsZero(ReferenceConsumer):
    """Always done."""

    async def lag(self) -> int | None:
        return 0


class LagCountsInFlight(ReferenceConsumer):
    """Counts what it holds as waiting."""

    async def lag(self) -> int | None:
        lag = await super().lag()
        return (lag or 0) + len(self.held)


class LagIsUnknown(ReferenceConsumer):
    """Declares a lag, and has none."""

    async def lag(self) -> int | None:
        return None


class LagForgetsFailures(ReferenceConsumer):
    """Does not count what was just requeued."""

    requeued = 0

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        self.requeued += len(messages)
        await super().on_fail(messages, delay)

    async def lag(self) -> int | None:
        return max(0, (await super().lag() or 0) - self.requeued)


class LagForgetsDelays(ReferenceConsumer):
    """Counts what could be claimed now, and stops a drain while more is to come."""

    async def lag(self) -> int | None:
        return self.opened().claimable()


class LagForgetsWhatIsFetched(ReferenceConsumer):
    """Leaves its request under way after an empty consume, and does not count what that brings."""

    fetching: asyncio.Task[Sequence[QueueMessage]] | None = None

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        self.fetching = self.fetching or asyncio.create_task(super().consume(max(max_messages, 1), 1e6))
        done, _ = await asyncio.wait({self.fetching}, timeout=timeout)
        if not done or not max_messages:
            return []
        fetched, self.fetching = self.fetching.result(), None
        return fetched

    async def shutdown(self) -> None:
        if self.fetching is not None:
            self.fetching.cancel()
        await super().shutdown()
