"""Connectors of our own, by the public contract, that fail as a test tells them and remember every call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from penstock.capabilities import Capabilities
from penstock.config.model import QueueConfig
from penstock.connectors import Consumer, Producer
from penstock.errors import ProduceError
from penstock.message import QueueMessage, Record

ABLE = Capabilities(
    headers=True, keys=True, ordering="queue", redelivery_count=True, record_delay=True, requeue_delay=True, lag=True
)

Step = BaseException | Callable[[], Any] | None
"""What happens at one call: an error is raised, a callable is called (and awaited), None is nothing."""


class Script:
    """What shall happen, call by call, and what did.

    Attributes:
        steps: Method → what happens at its next calls; once used up, nothing more.
        calls: (method, message bodies or None) in their order.
    """

    def __init__(self, **steps: Iterable[Step]) -> None:
        self.steps = {method: deque(planned) for method, planned in steps.items()}
        self.calls: list[tuple[str, Any]] = []

    async def play(self, method: str, what: Any = None) -> None:
        """Remember a call, and let happen what was planned for it."""
        self.calls.append((method, what))
        planned = self.steps.get(method)
        step = planned.popleft() if planned else None
        if isinstance(step, BaseException):
            raise step
        if step is not None:
            result = step()
            if asyncio.iscoroutine(result):
                await result

    def count(self, method: str) -> int:
        """How often a method was called."""
        return sum(name == method for name, _ in self.calls)

    def settled(self, *methods: str) -> list[bytes | None]:
        """The bodies that `on_success` (or the methods given) got, in order, however often."""
        return [body for name, bodies in self.calls if name in (methods or ("on_success",)) for body in bodies]


class Source(Script):
    """What an input queue of `ScriptedConsumer` holds.

    Args:
        bodies: The messages; or ready `QueueMessage`s.
        lease: The consumer's lease, in seconds.
        **steps: See `Script`.
    """

    def __init__(self, bodies: Iterable[bytes | QueueMessage | None] = (), lease: float | None = None, **steps: Any):
        super().__init__(**steps)
        self.lease = lease
        self.visible: deque[QueueMessage] = deque()
        self.held: set[QueueMessage] = set()
        self.asked: list[int] = []  # what each consume() asked for
        self.delays: list[float | None] = []  # what each on_fail() was told
        self.arrived = asyncio.Event()
        self.add(*bodies)

    def add(self, *bodies: bytes | QueueMessage | None) -> None:
        """Messages arrive."""
        for body in bodies:
            number = len(self.visible) + len(self.held)
            message = body if isinstance(body, QueueMessage) else QueueMessage(number, body, position=str(number))
            self.visible.append(message)
        self.arrived.set()

    async def take(self, count: int, timeout: float) -> list[QueueMessage]:
        """Some messages, as `Consumer.consume` hands them out."""
        if not self.visible:
            self.arrived.clear()
            try:
                await asyncio.wait_for(self.arrived.wait(), timeout)
            except TimeoutError:
                return []
        taken = [self.visible.popleft() for _ in range(min(count, len(self.visible)))]
        self.held.update(taken)
        return taken

    def requeue(self, messages: Iterable[QueueMessage]) -> None:
        """They come again, as new deliveries."""
        for old in messages:
            self.held.discard(old)
            self.add(
                QueueMessage(
                    old.message_context, old.message, old.key, old.headers, None, old.attempts + 1, old.position
                )
            )

    def queue(self, name: str = "in", **keys: Any) -> QueueConfig:
        """The queue's configuration."""
        return QueueConfig(name=name, **{"consumer": ScriptedConsumer, "config": {"script": self}, **keys})


class ScriptedConsumer(Consumer):
    """Hands out what its `Source` holds."""

    capabilities = ABLE

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.source: Source = options["script"]

    async def connect(self) -> None:
        await self.source.play("connect")
        self.source.arrived = asyncio.Event()  # of the event loop that runs now
        self.lease = self.source.lease

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        await self.source.play("consume")
        self.source.asked.append(max_messages)
        return await self.source.take(max_messages, timeout)

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        await self.source.play("on_success", [message.message for message in messages])
        self.source.held.difference_update(messages)
        return None

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        await self.source.play("on_fail", [message.message for message in messages])
        self.source.delays.append(delay)
        self.source.requeue(messages)

    async def extend(self, messages: Sequence[QueueMessage]) -> None:
        await self.source.play("extend", [message.message for message in messages])

    async def lag(self) -> int | None:
        await self.source.play("lag")
        return len(self.source.visible)

    async def shutdown(self) -> None:
        await self.source.play("shutdown")


class BareConsumer(ScriptedConsumer):
    """The same, of a backend that can nothing beyond the least."""

    capabilities = Capabilities()


class Sink(Script):
    """What an output queue of `ScriptedProducer` got.

    Attributes:
        stored: Confirmed records, in order.
        answers: One per coming record: why it is refused; None, and once used up, it is stored.
        open: While it is clear, `produce` waits.
    """

    def __init__(self, answers: Iterable[ProduceError | None] = (), **steps: Any) -> None:
        super().__init__(**steps)
        self.stored: list[Record] = []
        self.answers = deque(answers)
        self.open = asyncio.Event()
        self.open.set()

    @property
    def bodies(self) -> list[bytes | None]:
        """Of the stored records."""
        return [record.message for record in self.stored]

    def queue(self, name: str = "out", **keys: Any) -> QueueConfig:
        """The queue's configuration."""
        return QueueConfig(name=name, **{"producer": ScriptedProducer, "config": {"script": self}, **keys})


class ScriptedProducer(Producer):
    """Stores into its `Sink`."""

    capabilities = ABLE

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.sink: Sink = options["script"]

    async def connect(self) -> None:
        await self.sink.play("connect")

    async def produce(self, records: Sequence[Record]) -> Sequence[ProduceError | None]:
        sink = self.sink
        await sink.play("produce", [record.message for record in records])
        await sink.open.wait()
        answers = [sink.answers.popleft() if sink.answers else None for _ in records]
        sink.stored += [record for record, no in zip(records, answers, strict=True) if no is None]
        return answers

    async def shutdown(self) -> None:
        await self.sink.play("shutdown")


class BareProducer(ScriptedProducer):
    """The same, of a backend that can nothing beyond the least."""

    capabilities = Capabilities()


def source_of(count: int, **keys: Any) -> Source:
    """A source that holds the JSON numbers from 0."""
    return Source([b"%d" % number for number in range(count)], **keys)
