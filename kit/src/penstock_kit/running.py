"""An engine between three queues of the connector under test, in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from penstock import Engine, Worker, WorkerSettings
from penstock.events import Consumed, Event, Settled
from penstock.message import QueueMessage
from penstock.standalone import open_envelopes
from penstock_kit.broken import Broken, must
from penstock_kit.limits import until, within

if TYPE_CHECKING:
    from penstock_kit.kit import Kit

APP = "conformance"
IN, OUT, DEAD = "in", "out", "dead"
"""The names of the engine's queues in its configuration."""

SHUTDOWN_TIMEOUT = 5.0  # seconds that an engine has to finish its calls
STOP_LIMIT = 25.0  # seconds for an engine to stop: its shutdown_timeout, and the shutdown of three queues
SOON = {"initial_delay": 0.01, "jitter": 0.0, "max_attempts": 3}
"""A retry policy with short waits."""

Function = Callable[[bytes], Any]


def names(kit: Kit) -> dict[str, str]:
    """The names of the engine's queues in the backend."""
    return {IN: kit.queue, OUT: f"{kit.queue}-out", DEAD: f"{kit.queue}-dead"}


def queues(kit: Kit, **over: Any) -> list[dict[str, Any]]:
    """The configuration of the engine's queues, with further options for its input. The function gets plain bytes."""
    plain = {"serializer": None, "model_handler": None}
    return [
        {"name": name, **plain, **kit.config(queue, **(over if name == IN else {}))}
        for name, queue in names(kit).items()
    ]


class Running:
    """A worker with one engine that runs during a block, in the test's process.

    Args:
        kit: The kit whose connector and queue it uses.
        function: The engine's function. It gets a body.
        send: Sends its messages: before it starts, or once it is connected where a message does not wait for that.
        configuration: The configuration of its queues; by default `queues(kit)`.
        shutdown_timeout: Seconds that it has to finish its calls when it is stopped.
        **settings: Settings of the engine.

    Attributes:
        done: How many messages are in their final state.
    """

    def __init__(
        self,
        kit: Kit,
        function: Function,
        send: Callable[[], Awaitable[None]] | None = None,
        *,
        configuration: list[dict[str, Any]] | None = None,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT,
        **settings: Any,
    ) -> None:
        self._kit = kit
        self._send = send
        self._timeout = kit.timeout
        self.engine = Engine(
            IN,
            [OUT],
            APP,
            DEAD,
            queue_config=configuration or queues(kit),
            metrics_port=None,
            **{"retry": SOON} | settings,
        )
        self.engine.stream_app(function)
        self.engine.observer(self._observe)
        self.done = self._consumed = 0
        self.worker = Worker(
            [self.engine],
            WorkerSettings(metrics_port=None, connect_timeout=2 * kit.timeout, shutdown_timeout=shutdown_timeout),
        )

    async def __aenter__(self) -> Self:
        early = self._kit.backend.at_most_once
        if early:
            self._kit.listeners.take(self._kit.queue)  # the engine reads it
            for name in (OUT, DEAD):
                await self._kit.listen(names(self._kit)[name])
        elif self._send is not None:
            await self._send()
        self._serving = asyncio.create_task(self.worker.serve())
        if early and self._send is not None:
            await until(lambda: self.counted("penstock_connected", to_queue=IN) == 1, self._timeout)
            await self._send()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            await self.cancel()
        elif not self._serving.cancelled():
            await self.stop()
        if self._kit.backend.at_most_once:
            self._kit.listeners.leave(self._kit.queue)

    @property
    def in_flight(self) -> int:
        """How many messages it has taken and not settled."""
        return self._consumed - self.done

    def _observe(self, event: Event) -> None:
        match event:
            case Consumed():
                self._consumed += len(event.messages)
            case Settled():
                self.done += len(event.messages)

    async def until(self, true: Callable[[], bool], promise: str, look: str, extra: float = 0.0) -> None:
        """Wait until something is true of the engine.

        Args:
            true: Polled until it returns true.
            promise: The promise that it keeps then.
            look: Where an author should look.
            extra: Seconds that the function takes.

        Raises:
            Broken: it was not true in time, or the engine ended.
        """
        await until(lambda: true() or self._serving.done(), 3 * self._timeout + extra)
        if self._serving.done():
            await self._ended()
        must(
            true(),
            f"{promise}; it had not after {3 * self._timeout + extra:g} s: received "
            f"{self.counted('penstock_messages_received_total') or 0:g}, in flight {self.in_flight}, done {self.done}",
            look,
        )

    async def until_done(self, count: int, extra: float = 0.0) -> None:
        """Wait until `count` messages are in their final state."""
        await self.until(
            lambda: self.done >= count,
            f"an engine brings all {count} messages to their final state",
            "consume: what waits in the queue is delivered; produce and on_success: they return",
            extra,
        )

    async def stop(self) -> None:
        """Stop it, and check that it ends in time and without an error."""
        if not self._serving.done():
            self.worker.stop()
        async with within(
            STOP_LIMIT,
            f"an engine stops in order within {STOP_LIMIT:g} s; it had not",
            "calls of the connector that wait without end: consume, on_success, shutdown",
        ):
            await self._ended()

    async def cancel(self) -> None:
        """Cancel it, as a program does that runs it in its own event loop."""
        self._serving.cancel()
        # Its error was already reported, or is not what this test checks.
        await asyncio.wait([self._serving], timeout=STOP_LIMIT)

    async def _ended(self) -> None:
        try:
            await self._serving
        except Exception as error:
            raise Broken(
                f"an engine runs on this connector until it is stopped; it stopped by itself: {error}\n"
                "    look at: what the connector raises: NotConnected is waited out, anything else ends the engine"
            ) from error

    def counted(self, metric: str, **labels: str) -> float | None:
        """The value of one time series of the engine; None if there is no such series."""
        for family in self.worker.metrics.collect():
            for sample in family.samples:
                if sample.name == metric and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None


async def everything_in(kit: Kit, name: str, count: int) -> list[QueueMessage]:
    """Take all messages out of one of the engine's queues, and out of their envelopes."""
    async with kit.consumer(names(kit)[name]) as consumer:
        messages = await consumer.receive(count)
        messages += await consumer.rest()
        await consumer.succeed(messages)
    open_envelopes(messages, kit.capabilities)
    return messages
