"""What the tests of adapters share."""

# ruff: noqa: ARG002  (methods of a contract)

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from penstock.connectors import BlockingConsumer, BlockingProducer, Consumer, Producer
from penstock.errors import ProduceError
from penstock.message import QueueMessage, Record

WAIT = 10.0  # seconds after which something that should happen has not


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """On an event loop of its own, and not for ever."""

    async def bounded() -> Any:
        async with asyncio.timeout(WAIT):
            return await coroutine

    return asyncio.run(bounded())


class Calls:
    """Which method was called on which thread, in order."""

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []

    def note(self, name: str) -> None:
        self.made.append((name, threading.get_ident()))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.made]

    def threads(self, *names: str) -> set[int]:
        return {thread for name, thread in self.made if name in names}


class OwnConsumer(Consumer):
    """Nothing to adapt."""

    async def connect(self) -> None: ...
    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        return []

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None: ...
    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None: ...
    async def shutdown(self) -> None: ...


class OwnProducer(Producer):
    """Nothing to adapt."""

    async def connect(self) -> None: ...
    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        return [None for _ in records]

    async def shutdown(self) -> None: ...


class SlowConsumer(BlockingConsumer):
    """Its consume waits until a settlement lets it go, as a settlement may be what brings the next message."""

    keep_polling: ClassVar[bool] = True

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.calls: Calls = options["calls"]
        self.consuming = threading.Event()
        self.settled = threading.Event()

    def connect(self) -> None:
        self.calls.note("connect")
        self.lease = 30.0

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        self.calls.note("consume")
        self.consuming.set()
        assert self.settled.wait(WAIT)
        return [QueueMessage(max_messages, f"{timeout}".encode())]

    def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        self.calls.note("on_success")
        assert self.consuming.wait(WAIT)
        self.settled.set()
        return len(messages)

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        self.calls.note(f"on_fail {delay}")

    def extend(self, messages: Sequence[QueueMessage]) -> None:
        self.calls.note("extend")

    def lag(self) -> int | None:
        self.calls.note("lag")
        return 7

    def shutdown(self) -> None:
        self.calls.note("shutdown")


class SlowProducer(BlockingProducer):
    """Notes its calls, and answers each record by its body."""

    def connect(self) -> None:
        self.options.note("connect")

    def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        self.options.note("produce")
        return [None if record.message == b"good" else ProduceError("bad") for record in records]

    def shutdown(self) -> None:
        self.options.note("shutdown")
