"""The table of what an engine has received and not settled yet."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from time import monotonic

from penstock.message import QueueMessage


class InFlight:
    """The messages in flight of one engine.

    A connector's message is never changed while it is worked on. A message in an envelope is represented by a copy, and
    one that is tried again by a copy which counts the attempts; `originals` finds the connector's message, which alone
    can be settled.

    Attributes:
        received_at: When each message was asked for, by `monotonic`; the oldest first. The keys are the connector's
            messages.
        settled: How many messages have reached their final state.
        space_freed: Set whenever a message leaves the table.
    """

    def __init__(self) -> None:
        self.received_at: dict[QueueMessage, float] = {}
        self.settled = 0
        self.space_freed = asyncio.Event()
        self._originals: dict[QueueMessage, QueueMessage] = {}
        self._superseded: dict[QueueMessage, list[QueueMessage]] = {}  # by the connector's message

    def __len__(self) -> int:
        return len(self.received_at)

    @property
    def age(self) -> float | None:
        """Seconds since the oldest message was asked for; None if there is none."""
        first = next(iter(self.received_at.values()), None)
        return None if first is None else monotonic() - first

    def add(self, messages: Iterable[QueueMessage], asked_at: float) -> None:
        """Count messages as received."""
        self.received_at.update(dict.fromkeys(messages, asked_at))

    def working_copies(
        self, messages: Sequence[QueueMessage], is_packed: Callable[[QueueMessage], bool]
    ) -> Sequence[QueueMessage]:
        """The messages, with a copy in the place of each that is packed: unpacking one changes it."""
        return [self._copy(message) if is_packed(message) else message for message in messages]

    def supersede(self, older: QueueMessage, newer: QueueMessage) -> None:
        """Settle or requeue `older` together with `newer`, which the function gets in its place."""
        (old, new), superseded = self.originals([older, newer]), self._superseded
        superseded[new] = [*superseded.get(new, ()), *superseded.pop(old, ()), older]

    def superseded_by(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        """The older messages that are settled or requeued with the given ones."""
        if not self._superseded:
            return ()
        return [older for each in self.originals(messages) for older in self._superseded.get(each, ())]

    def came_at(self, message: QueueMessage) -> float:
        """When a message was asked for, by `monotonic`."""
        return self.received_at[self.originals([message])[0]]

    def release(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        """Forget messages that were settled or requeued, and the superseded ones with them. Returns them all."""
        if self._superseded:
            messages = [*messages, *self.superseded_by(messages)]
            for message in self.originals(messages):
                self._superseded.pop(message, None)
        # Without a step of the interpreter's for each.
        deque(map(self.received_at.pop, self.originals(messages), repeat(None)), maxlen=0)
        if self._originals:
            for message in messages:
                self._originals.pop(message, None)
        self.space_freed.set()
        return messages

    def next_attempt(self, messages: Iterable[QueueMessage]) -> list[QueueMessage]:
        """Copies of these messages for the next attempt."""
        copies = []
        for message in messages:
            original = self._originals.pop(message, message)
            again = self._copy(original)  # not of the last attempt, whose envelope is open
            again.attempts = message.attempts + 1
            copies.append(again)
        return copies

    def _copy(self, original: QueueMessage) -> QueueMessage:
        copied = copy.copy(original)
        self._originals[copied] = original
        return copied

    def originals(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        """The connector's messages that stand behind these."""
        if not self._originals:
            return messages
        return [self._originals.get(message, message) for message in messages]

    def for_settlement(self, messages: Sequence[QueueMessage]) -> Sequence[QueueMessage]:
        """The connector's messages, now with the attempts that were made: some connectors count on from there."""
        originals = self.originals(messages)
        if originals is not messages:
            for original, message in zip(originals, messages, strict=True):
                original.attempts = message.attempts
        return originals

    def end(self) -> None:
        """The engine ends: the connector takes back what is left, with the attempts that were made."""
        self.for_settlement(list(self._originals))

    def clear(self) -> None:
        """The engine has ended: forget what is left."""
        self.received_at.clear()
        self._originals.clear()
        self._superseded.clear()
