"""What all readers of a log of changes share: one position is stored, and settlements come in any order."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import Any, Generic, Self, TypeVar

from penstock.connectors import Consumer
from penstock.errors import ConnectorError
from penstock.message import QueueMessage
from penstock.offsets import Ledger, OffsetTracker
from penstock.redelivery import Redelivery
from penstock_postgres.pgoutput import Sent

Position = TypeVar("Position")

_LOG = "log"  # its only partition


class LogMessage(QueueMessage):
    """One delivery of what the server sent. `message_context` is its position."""

    __slots__ = ("ledger", "offset", "requeued", "sent")

    abandoned = None  # the log counts no calls
    requeued: bool

    def __init__(self, sent: Sent, ledger: Ledger[str], offset: int, attempts: int = 1) -> None:
        # Without the parent's constructor, which would cost one more call for each message.
        self.position, self.message, self.key, self.headers, self.timestamp = sent
        self.message_context = self.position
        self.attempts = attempts
        self.sent = sent
        self.ledger = ledger
        self.offset = offset

    def redelivery(self) -> Self:
        """See `penstock.redelivery.LogMessage`."""
        return type(self)(self.sent, self.ledger, self.offset, self.attempts + 1)


class LogReader(Consumer, Generic[Position]):
    """Delivers from memory what was requeued, else what `_fetch` reads, and knows how far all of it is settled."""

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self._tracker: OffsetTracker[str] = OffsetTracker()
        self._redelivery = Redelivery[LogMessage]()
        self._next = 0
        self._marks: deque[tuple[int, Position]] = deque()

    @abstractmethod
    async def _fetch(self, most: int) -> Sequence[Sent]:
        """What can be read now, by `_deliver`. What was read before an error is returned, not lost."""

    @abstractmethod
    async def _wait(self, seconds: float) -> None:
        """Wait for something to read, at most so long."""

    @abstractmethod
    async def _store(self) -> None:
        """Store how far everything is settled; see `_settled`."""

    def _begin(self) -> None:
        """Forget everything: the log is read anew from what is stored, by us or by another."""
        self._end()
        self._tracker.assign(_LOG)

    def _end(self) -> None:
        """Forget everything; what is settled from now on is late."""
        self._redelivery.forget((_LOG,))
        self._tracker.revoke(_LOG)
        self._marks.clear()

    @property
    def _in_flight(self) -> int:
        return self._tracker.open

    def _deliver(self, sent: Sequence[Sent]) -> list[LogMessage]:
        if not sent:
            return []
        offsets = range(self._next, self._next + len(sent))
        self._next = offsets.stop
        ledger = self._tracker.begin(_LOG, offsets)
        return [LogMessage(each, ledger, offset) for each, offset in zip(sent, offsets, strict=True)]

    def _mark(self, position: Position, ahead: int = 0) -> None:
        """Note that everything read so far lies before `position`.

        Args:
            position: What may be stored once all of it is settled.
            ahead: How much of it is not delivered yet.
        """
        upto = self._next + ahead
        if self._marks and self._marks[-1][0] == upto:
            self._marks.pop()
        self._marks.append((upto, position))

    def _settled(self) -> Position | None:
        """The highest position that may be stored, the first time that it may; None if there is no new one."""
        ledger = self._tracker.ledger(_LOG)
        safe = ledger.safe() if ledger is not None else None
        upto = self._next if safe is None else safe
        found = None
        while self._marks and self._marks[0][0] <= upto:
            found = self._marks.popleft()[1]
        return found

    async def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`."""
        deadline = monotonic() + timeout
        while True:
            messages = self._redelivery.take(max_messages)
            if len(messages) < max_messages:
                try:
                    messages += self._deliver(await self._fetch(max_messages - len(messages)))
                except ConnectorError:
                    if not messages:  # else the next call raises it again
                        raise
            left = deadline - monotonic()
            if messages or left <= 0:
                return messages
            due = self._redelivery.wait()
            await self._wait(left if due is None else min(left, due))

    async def on_success(self, messages: Sequence[QueueMessage]) -> int | None:
        """See `Consumer.on_success`: stored once everything before is settled, too."""
        late = self._redelivery.succeed(messages)  # type: ignore[arg-type]  # what `consume` returned
        if late < len(messages):
            await self._store()
        return late

    async def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int | None:
        """See `Consumer.on_fail`: delivered again from memory, before what is younger; after a crash by the server."""
        return self._redelivery.requeue(messages, delay or 0.0)  # type: ignore[arg-type]
