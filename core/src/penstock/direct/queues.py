"""Queues of a configuration, without an engine: send and read in a program of your own.

async with Queues("queues.yml") as queues:
    await queues.send("orders", order, key="7")
    async for delivery in queues.read("orders"):
        print(delivery.object)
        await delivery.done()
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from penstock.config.files import Source, load
from penstock.config.model import Configuration
from penstock.config.resolve import registry_for, resolve_queue
from penstock.direct.delivery import Received, ReceivedBatch
from penstock.direct.sending import send_all
from penstock.direct.source import Decoder, SourceQueue
from penstock.errors import CapabilityError, FunctionError, PenstockError
from penstock.message import QueueMessage
from penstock.observability.health import Health, Status
from penstock.operations import open as open_queue
from penstock.options import Role
from penstock.pipeline.annotation import with_declared_model
from penstock.queues.queue import InputQueue, OutputQueue
from penstock.queues.resolved_queue import ResolvedQueue
from penstock.routing import INHERIT, Inherit, Output

T = TypeVar("T")


ONE_BY_ONE = 50  # messages that are fetched, and as many ahead, for a reader that takes one at a time

Key = str | bytes | None
SeekTo = str | datetime


class Delivery(Received):
    """A delivered message, to be settled by `done` or `requeue`."""

    __slots__ = ("_source",)

    def __init__(self, message: QueueMessage, decode: Callable[[QueueMessage], Any], source: SourceQueue) -> None:
        super().__init__(message, decode)
        self._source = source

    async def done(self) -> bool:
        """Settle it for good; False if another consumer owns it meanwhile.

        Raises:
            PenstockError: it was settled before.
        """
        return not await self._source.settle([self.message])

    async def requeue(self, delay: float | None = None) -> bool:
        """Let it be delivered again, after `delay` seconds; False if another consumer owns it meanwhile.

        Where the connector cannot hold it back, the call itself takes so long.
        """
        return not await self._source.requeue([self.message], delay)


class DeliveryBatch(ReceivedBatch[Delivery]):
    """Several deliveries, to be settled together or one by one."""

    def __init__(self, messages: Sequence[QueueMessage], decoder: Decoder, source: SourceQueue) -> None:
        super().__init__(messages, decoder.all)
        self._decode_one = decoder.one
        self._source = source

    def _make(self) -> list[Delivery]:
        self._messages = self._source.one_by_one(self._messages)
        return [Delivery(message, self._decode_one, self._source) for message in self._messages]

    async def done(self) -> int:
        """Settle all for good; returns how many were still ours."""
        return len(self) - await self._source.settle(self._messages)

    async def requeue(self, delay: float | None = None) -> int:
        """Let all be delivered again, after `delay` seconds; returns how many were still ours."""
        return len(self) - await self._source.requeue(self._messages, delay)


class Queues:
    """The queues of a configuration, each opened when it is first used.

    What was read and not settled when the block ends is requeued.

    Args:
        config: A YAML, TOML or JSON file, or the same as Python data; sections for engines and workers are not used.
        connect_timeout: Seconds to wait for a server that is away when a queue is opened; None waits.

    Raises:
        ConfigError: the configuration is wrong, with each file, line and key.
    """

    def __init__(self, config: Source | Configuration, *, connect_timeout: float | None = 30.0) -> None:
        self._configuration = load(config)
        self._registry = registry_for(self._configuration)
        self._connect_timeout = connect_timeout
        self._health = Health()
        self._sources: dict[str, SourceQueue] = {}
        self._targets: dict[str, OutputQueue] = {}
        self._opening = asyncio.Lock()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all queues. What was not settled is requeued; readers end."""
        self._closed = True
        async with self._opening:
            # Readers first: what they still send must be confirmed.
            await asyncio.gather(*(source.close() for source in self._sources.values()))
            await asyncio.gather(*(target.close() for target in self._targets.values()))
            self._sources.clear()
            self._targets.clear()

    # -- sending

    async def send(
        self,
        queue: str,
        obj: Any,
        *,
        key: Key | Inherit = INHERIT,
        headers: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes | None]] = (),
        delay: float = 0.0,
        **options: Any,
    ) -> None:
        """Send one object, and wait until the server has confirmed it.

        A server that goes away is waited for, until this call is cancelled.

        Args:
            queue: A queue of the configuration.
            obj: Encoded by the queue's model handler and serializer.
            key, headers, delay, **options: As of `Output`. Without a key it is what the queue's `key` says, or none.

        Raises:
            NotSent: the server will never take it.
            FunctionError: the object cannot be encoded for this queue, or an argument is of no legal kind.
            ConnectorError: the queue cannot be opened.
        """
        await self.send_batch(queue, [Output(queue, obj, key=key, headers=headers, delay=delay, **options)])

    async def send_batch(self, queue: str, objects: Iterable[Any]) -> None:
        """Send objects in their order, and wait until the server has confirmed each.

        Args:
            queue: A queue of the configuration.
            objects: Objects, or `Output`s where keys, headers or delays are wanted. They are encoded ahead, 10,000 at a
                time, so there may be any number of them.

        Raises:
            NotSent: the server will never take some; the others are stored.
            FunctionError: an object cannot be encoded for this queue. None of its 10,000 was sent, and none after them;
                the error says how many before them are stored.
            ConnectorError: the queue cannot be opened.
        """
        await send_all(await self._target(queue), objects)

    # -- reading

    @overload
    def read(self, queue: str, *, model: Any = None, idle: float | None = None) -> AsyncIterator[Delivery]: ...

    @overload
    def read(
        self, queue: str, *, model: Any = None, batch: int, wait: float = 0.0, idle: float | None = None
    ) -> AsyncIterator[DeliveryBatch]: ...

    async def read(
        self,
        queue: str,
        *,
        model: Any = None,
        batch: int | None = None,
        wait: float = 0.0,
        idle: float | None = None,
    ) -> AsyncIterator[Any]:
        """Read messages until the queues are closed; each must be settled by `done` or `requeue`.

        Messages are fetched ahead, and the leases of all that are not settled are kept alive.

        Args:
            queue: A queue of the configuration.
            model: What `delivery.object` is: a class, or any type that the queue's model handler can build. By default
                the queue's data model.
            batch: Gives lists of at most so many.
            wait: Seconds from the first message on to wait for a full list.
            idle: Ends after so many seconds without a message; None goes on.

        Yields:
            A `Delivery`, or with `batch` a `DeliveryBatch`.

        Raises:
            ConnectorError: the queue cannot be opened, or the server refuses for good.
        """
        source = await self._source(queue, batch or ONE_BY_ONE)
        decoder = source.decoder(model)
        while taken := await source.take(batch or 1, wait, idle):
            if batch:
                yield DeliveryBatch(taken, decoder, source)
            else:
                yield Delivery(taken[0], decoder.one, source)

    async def process(
        self,
        queue: str,
        function: Callable[[DeliveryBatch], Any],
        *,
        model: Any = None,
        batch: int = 100,
        wait: float = 0.0,
        idle: float | None = None,
    ) -> None:
        """Call a function with one batch after the other, and settle each when it returns.

        An error of the function ends the call; its batch is not settled, and comes again.

        Args:
            queue: A queue of the configuration.
            function: Called with a `DeliveryBatch`; a plain function on a thread, so that leases are kept alive.
            model, batch, wait, idle: As of `read`.
        """
        async for deliveries in self.read(queue, model=model, batch=batch, wait=wait, idle=idle):
            if inspect.iscoroutinefunction(function):
                await function(deliveries)
            else:
                await asyncio.to_thread(function, deliveries)
            await deliveries.done()

    # -- looking

    def health(self) -> Mapping[str, Status]:
        """The state of each queue that is open, by "input NAME" or "output NAME"."""
        return self._health.snapshot()

    async def lag(self, queue: str) -> int | None:
        """How many messages wait; None if the backend cannot tell. A queue that is not read joins no group for that."""
        if (source := self._sources.get(queue)) is not None:
            return await source.queue.lag()
        measured = open_queue.measure(self._configuration, queue)
        try:
            return (await measured.backlog()).waiting
        finally:
            await measured.close()

    async def seek(self, queue: str, to: SeekTo) -> None:
        """Let the queue be read from another place on, by its whole group, which must have no other readers.

        A reader of the queue ends, and what it holds is requeued first; read again to go on there.

        Args:
            queue: A queue whose connector has the capability `seek`.
            to: "beginning", "end", a position of `delivery.position`, or a time with a zone.

        Raises:
            CapabilityError: the connector cannot.
            ConnectorError: the server refuses; others of the group are still reading, say.
        """
        resolved = self._resolve(queue, "input")
        if not resolved.capabilities.seek:
            raise CapabilityError(
                f"queue {queue!r}: the connector {resolved.connector!r} cannot seek: what is settled is gone"
            )
        if isinstance(to, datetime) and to.tzinfo is None:
            raise FunctionError(f"seek to {to}: the time has no zone; give it one, such as datetime.UTC")
        async with self._opening:
            if (source := self._sources.pop(queue, None)) is not None:
                await source.close()
            seeking = InputQueue(resolved)
            try:
                await seeking.seek(to)
            finally:
                await seeking.close()

    # -- opening

    def _resolve(self, name: str, role: Role) -> ResolvedQueue:
        if self._closed:
            raise PenstockError(f"queue {name!r}: these queues are closed")
        return resolve_queue(self._configuration, name, role, registry=self._registry)

    async def _source(self, name: str, batch: int) -> SourceQueue:
        async with self._opening:
            source = self._sources.get(name)
            if source is None:
                resolved = self._resolve(name, "input")
                source = SourceQueue(InputQueue(resolved, health=self._health, lazily=True), batch)
                await _open(source, source.queue, self._connect_timeout)
                self._sources[name] = source
            source.batch = max(source.batch, batch)
            return source

    async def _target(self, name: str) -> OutputQueue:
        if (target := self._targets.get(name)) is not None:
            return target
        async with self._opening:
            if (target := self._targets.get(name)) is None:
                target = OutputQueue(with_declared_model(self._resolve(name, "output"), {}), health=self._health)
                await _open(target, target, self._connect_timeout)
                self._targets[name] = target
            return target


async def _open(opened: SourceQueue | OutputQueue, queue: InputQueue | OutputQueue, timeout: float | None) -> None:
    try:
        await opened.open(timeout)
    except BaseException:
        await queue.close()
        raise
