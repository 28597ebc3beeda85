"""A connector without its adapter, for calls that an engine never makes: after shutdown, or a second shutdown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any

from penstock.connectors import BlockingConsumer, BlockingProducer
from penstock.message import QueueMessage
from penstock_kit.watched import call

if TYPE_CHECKING:
    from penstock.options import Role
    from penstock_kit.kit import Kit

CALL_LIMIT = 15.0  # seconds for any call; a shutdown may take about 10
SETTLING = ("on_success", "on_fail", "extend", "lag")


class Bare:
    """The plugin's own class, called directly. A blocking one is called on two threads, as the contract says.

    Unlike those of the adapter, the threads live until `close`.

    Args:
        kit: The kit whose queue it opens.
        role: "input" or "output".
        settings: The queue's settings; by default those of the kit's queue.
    """

    def __init__(self, kit: Kit, role: Role, settings: dict[str, Any] | None = None) -> None:
        resolved = kit.resolve(role, kit.config() if settings is None else settings)
        self.connector = resolved.connector_class(resolved.value, resolved.options)
        self._timeout = kit.timeout
        blocks = isinstance(self.connector, BlockingConsumer | BlockingProducer)
        self._threads = [_Thread("penstock-bare"), _Thread("penstock-bare-settle")] if blocks else []

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method and wait for what it returns."""
        function: Callable[..., Any] = getattr(self.connector, method)
        async with call(method, CALL_LIMIT, f"what {method} waits for"):
            if not self._threads:
                return await function(*arguments)
            return await self._threads[method in SETTLING].call(function, *arguments)

    async def receive(self, count: int) -> list[QueueMessage]:
        """Consume so many messages."""
        messages: list[QueueMessage] = []
        deadline = monotonic() + self._timeout
        while len(messages) < count and (left := deadline - monotonic()) > 0:
            messages += await self.call("consume", count - len(messages), min(left, CALL_LIMIT / 2))
        return messages

    def close(self) -> None:
        """Let the threads end."""
        for thread in self._threads:
            thread.close()


class _Thread:
    """One thread that makes calls, one after the other. A daemon, so that a call that hangs does not hang the suite."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call and return what it returns."""
        if self._thread.ident is None:
            self._thread.start()
        done: Future[Any] = Future()
        self._calls.put((done, lambda: function(*arguments)))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        """Let the thread end after the calls that wait."""
        self._calls.put(None)

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            done, make_call = job
            if not done.set_running_or_notify_cancel():
                continue
            try:
                done.set_result(make_call())
            except BaseException as error:  # noqa: BLE001  (the caller gets it)
                done.set_exception(error)
