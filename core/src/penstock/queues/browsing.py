"""A queue that is open to be browsed: its messages are read, opened and decoded, and nothing changes.

    async with BrowsedQueue(resolved) as queue:
        async for opened in queue.messages():
            print(opened.message.position, opened.value, opened.dead_letter)

Neither opening nor browsing joins a group, takes a lease or creates anything: the consumer is never connected.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from penstock import dead_letters, envelope
from penstock.backoff import Backoff
from penstock.dead_letters import DeadLetter
from penstock.errors import DecodeError, MessageError, NotConnected
from penstock.message import ERROR_STAGE, BrowsedMessage
from penstock.observability.health import Health
from penstock.queues.adapters import make_consumer
from penstock.queues.answers import backlog_problem, browse_problem
from penstock.queues.cancellation import raise_if_exit
from penstock.queues.codec import Codec
from penstock.queues.connection import Connection
from penstock.results import Backlog

if TYPE_CHECKING:
    from penstock.queues.resolved_queue import ResolvedQueue

T = TypeVar("T")

PAGE = 500  # messages of one call of a connector
FOLLOW = 0.5  # seconds of one wait for messages that arrive
LOOK_AGAIN = Backoff(initial=0.5, maximum=15.0)  # between two looks at a backend that is away


@dataclass(frozen=True, slots=True)
class OpenedMessage:
    """A browsed message, opened: taken out of its envelope, decoded, and read as a dead letter if it is one.

    Attributes:
        message: Body, key and headers as they were sent; position, state, attempts and timestamp as browsed.
        value: What the queue's serializer and its configured data model make of the body; None if they reject it.
        error: Why they reject it, without the message's data; None if they do not.
        dead_letter: What failed, where and when, and the message as it was before; None if it is not a dead letter.
    """

    message: BrowsedMessage
    value: Any = None
    error: MessageError | None = None
    dead_letter: DeadLetter | None = None


class BrowsedQueue:
    """A queue whose messages are looked at.

    Args:
        resolved: What the configuration says of it, resolved for the role "input". Its connector must have the
            capability for what is called: `browse`, or `backlog`.
    """

    def __init__(self, resolved: ResolvedQueue) -> None:
        self.resolved = resolved
        self.name = resolved.name
        # A default model may be replaced by a function's annotation, which is not known here.
        model_handler = None if resolved.data_model_is_default else resolved.model_handler
        self._codec = Codec(resolved.serializer, model_handler, resolved.data_model)
        self._enveloped = resolved.envelope and envelope.uses_envelope(resolved.capabilities)
        self._consumer = make_consumer(resolved.connector_class, resolved.value, resolved.options)
        self._connection = Connection(
            self._consumer, str(self), resolved.connector_class, Health(), f"browse {resolved.name}", None
        )

    def __str__(self) -> str:
        place = f" ({self.resolved.location})" if self.resolved.location else ""
        return f"queue {self.name!r}{place}, {self.resolved.connector}"

    async def page(self, limit: int = PAGE, after: str | None = None) -> list[OpenedMessage]:
        """The next messages by position; an empty list if there are no more. See `Consumer.browse`.

        Raises:
            NotConnected: the backend is away; the same call may be made again.
            ConnectorError: the queue does not exist, `after` is not a position, or the connector has a bug.
        """
        found = await self._once("browse", lambda: self._consumer.browse(limit, after))
        self._connection.refuse(browse_problem(found, limit, after))
        return [self._opened(message) for message in found]

    async def messages(self, limit: int | None = None, after: str | None = None) -> AsyncIterator[OpenedMessage]:
        """All messages by position, page by page, up to `limit`. Raises what `page` raises."""
        left = limit
        while left is None or left > 0:
            found = await self.page(PAGE if left is None else min(PAGE, left), after)
            if not found:
                return
            for opened in found:
                yield opened
            after = found[-1].message.position
            left = None if left is None else left - len(found)

    async def arrivals(
        self, after: str | None, on_away: Callable[[NotConnected], None]
    ) -> AsyncIterator[OpenedMessage]:
        """Messages that arrive from now on, for ever. A backend that goes away is waited for.

        Args:
            after: The position of a message that was seen: what is before it need not be read.
            on_away: Called with each attempt that failed.
        """
        after = await self._end(after)
        failures = 0
        while True:
            try:
                found = await self._once("follow", lambda: self._consumer.follow(FOLLOW))
                if found is not None:
                    self._connection.refuse(browse_problem(found))
                    for message in found:
                        yield self._opened(message)
                else:
                    async for opened in self.messages(after=after):
                        after = opened.message.position
                        yield opened
                    await asyncio.sleep(FOLLOW)
                failures = 0
            except NotConnected as error:
                on_away(error)
                failures += 1
                await asyncio.sleep(LOOK_AGAIN.delay(failures))

    async def _end(self, after: str | None) -> str | None:
        """The position of the last message; None where the connector knows by itself what is new."""
        if await self._once("follow", lambda: self._consumer.follow(0.0)) is None:
            async for opened in self.messages(after=after):
                after = opened.message.position
        return after

    async def backlog(self) -> Backlog:
        """Count the messages of the queue; see `Consumer.backlog`. Raises what `page` raises."""
        found = await self._once("backlog", self._consumer.backlog)
        self._connection.refuse(backlog_problem(found))
        return found

    async def _once(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._connection.once(method, call)
        except NotConnected as error:
            raise NotConnected(f"{self}: {error}", error.retry_after) from error

    async def close(self) -> None:
        """Close what `browse` opened. Never raises."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _opened(self, message: BrowsedMessage) -> OpenedMessage:
        try:
            message = self._without_envelope(message)
        except DecodeError as error:
            return OpenedMessage(message, error=error)
        value, problem = self._decoded(message.message)
        died = any(name == ERROR_STAGE for name, _value in message.headers)
        return OpenedMessage(message, value, problem, dead_letters.read(message) if died else None)

    def _without_envelope(self, message: BrowsedMessage) -> BrowsedMessage:
        if not self._enveloped or message.message is None or (found := envelope.unwrap(message.message)) is None:
            return message
        body, key, headers = found
        return BrowsedMessage(
            body,
            message.position,
            key=key,
            headers=headers,
            timestamp=message.timestamp,
            attempts=message.attempts,
            state=message.state,
        )

    def _decoded(self, body: bytes | None) -> tuple[Any, MessageError | None]:
        try:
            return self._codec.decode(body), None
        except BaseException as error:  # noqa: BLE001  (any error of a codec means that the message is not valid)
            raise_if_exit(error)
            return None, self._codec.explain(body, error)[1]
