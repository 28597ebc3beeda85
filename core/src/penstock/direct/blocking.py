"""The same as `Queues` for programs without an event loop.

    with BlockingQueues("queues.yml") as queues:
        queues.send("orders", order, key="7")
        for delivery in queues.read("orders"):
            print(delivery.object)
            delivery.done()

A thread of its own runs the queues, so leases are kept alive while the program works.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from penstock.config.files import Source
from penstock.config.model import Configuration
from penstock.direct.delivery import Received, ReceivedBatch
from penstock.direct.queues import Delivery, DeliveryBatch, Key, Queues
from penstock.observability.health import Status
from penstock.routing import INHERIT, Inherit

T = TypeVar("T")

Run = Callable[[Coroutine[Any, Any, Any]], Any]


class BlockingDelivery(Received):
    """A delivered message, to be settled by `done` or `requeue`."""

    __slots__ = ("_delivery", "_run")

    def __init__(self, delivery: Delivery, run: Run) -> None:
        super().__init__(delivery.message, lambda _message: delivery.object)
        self._delivery = delivery
        self._run = run

    def done(self) -> bool:
        """See `Delivery.done`."""
        return bool(self._run(self._delivery.done()))

    def requeue(self, delay: float | None = None) -> bool:
        """See `Delivery.requeue`."""
        return bool(self._run(self._delivery.requeue(delay)))


class BlockingDeliveryBatch(ReceivedBatch[BlockingDelivery]):
    """Several deliveries, to be settled together or one by one."""

    def __init__(self, batch: DeliveryBatch, run: Run) -> None:
        super().__init__(batch._messages, batch._decode)
        self._batch = batch
        self._run = run

    def _make(self) -> list[BlockingDelivery]:
        return [BlockingDelivery(each, self._run) for each in self._batch]

    def done(self) -> int:
        """See `DeliveryBatch.done`."""
        return int(self._run(self._batch.done()))

    def requeue(self, delay: float | None = None) -> int:
        """See `DeliveryBatch.requeue`."""
        return int(self._run(self._batch.requeue(delay)))


class BlockingQueues:
    """See `Queues`, whose methods these are. May be used by several threads.

    Args:
        config, connect_timeout: As of `Queues`.

    Raises:
        ConfigError: the configuration is wrong, with each file, line and key.
    """

    def __init__(self, config: Source | Configuration, *, connect_timeout: float | None = 30.0) -> None:
        self._queues = Queues(config, connect_timeout=connect_timeout)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="penstock-queues", daemon=True)
        self._thread.start()
        self._closing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """See `Queues.close`."""
        with self._closing:  # a thread that reads closes its queues, and so may the one that started it
            if self._loop.is_closed():
                return
            try:
                self._run(self._queues.close())
            finally:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def send(
        self,
        queue: str,
        obj: Any,
        *,
        key: Key | Inherit = INHERIT,
        headers: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes | None]] = (),
        delay: float = 0.0,
        **options: Any,
    ) -> None:
        """See `Queues.send`."""
        self._run(self._queues.send(queue, obj, key=key, headers=headers, delay=delay, **options))

    def send_batch(self, queue: str, objects: Iterable[Any]) -> None:
        """See `Queues.send_batch`."""
        self._run(self._queues.send_batch(queue, list(objects)))

    @overload
    def read(self, queue: str, *, model: Any = None, idle: float | None = None) -> Iterator[BlockingDelivery]: ...

    @overload
    def read(
        self, queue: str, *, model: Any = None, batch: int, wait: float = 0.0, idle: float | None = None
    ) -> Iterator[BlockingDeliveryBatch]: ...

    def read(
        self,
        queue: str,
        *,
        model: Any = None,
        batch: int | None = None,
        wait: float = 0.0,
        idle: float | None = None,
    ) -> Iterator[Any]:
        """See `Queues.read`."""
        if batch is None:
            reading: AsyncIterator[Any] = self._queues.read(queue, model=model, idle=idle)
        else:
            reading = self._queues.read(queue, model=model, batch=batch, wait=wait, idle=idle)
        while (found := self._run(_next(reading))) is not None:
            if isinstance(found, Delivery):
                yield BlockingDelivery(found, self._run)
            else:
                yield BlockingDeliveryBatch(found, self._run)

    def process(
        self,
        queue: str,
        function: Callable[[BlockingDeliveryBatch], Any],
        *,
        model: Any = None,
        batch: int = 100,
        wait: float = 0.0,
        idle: float | None = None,
    ) -> None:
        """See `Queues.process`; the function runs on this thread."""
        for deliveries in self.read(queue, model=model, batch=batch, wait=wait, idle=idle):
            function(deliveries)
            deliveries.done()

    def health(self) -> Mapping[str, Status]:
        """See `Queues.health`."""
        return self._queues.health()

    def lag(self, queue: str) -> int | None:
        """See `Queues.lag`."""
        return self._run(self._queues.lag(queue))

    def seek(self, queue: str, to: str | datetime) -> None:
        """See `Queues.seek`."""
        self._run(self._queues.seek(queue, to))


async def _next(reading: AsyncIterator[T]) -> T | None:
    return await anext(reading, None)
