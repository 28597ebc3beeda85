"""Messages that travel together: columns that the steps fill from left to right."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from penstock.message import QueueMessage, Record
from penstock.pipeline.settlement import Failure

Made = Sequence[tuple[str, Record]]
"""The records that were made of one message, or of a whole batch, each with the name of its queue."""


class Outgoing:
    """The records of one batch for one queue, and whose they are.

    Attributes:
        records: What is to be produced, in order.
        owners: For each record the input message it came from; None where it came from the whole batch.
    """

    __slots__ = ("owners", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.owners: list[QueueMessage | None] = []


class Batch:
    """One batch. The columns are as long as `messages`; a message that fails leaves them all and becomes a failure.

    Attributes:
        messages: The deliveries.
        models: What `decode` made of them.
        made: The records that were made of what the function returned; one entry for all messages, where it takes the
            whole batch.
        outgoing: Queue name → records.
        failures: What did not make it.
        seconds: How long the function ran for this batch, its outputs' encoding included.
    """

    __slots__ = ("failures", "made", "messages", "models", "outgoing", "seconds")

    def __init__(self, messages: Sequence[QueueMessage] = ()) -> None:
        self.messages: list[QueueMessage] = list(messages)
        self.models: list[Any] = []
        self.made: list[Made] = []
        self.outgoing: dict[str, Outgoing] = {}
        self.failures: list[Failure] = []
        self.seconds = 0.0

    def refuse(self, owner: QueueMessage | None, error: BaseException) -> None:
        """An output was refused for good: its input fails; all of them fail if it was made of the whole batch."""
        failed = self.messages if owner is None else [owner]
        self.failures += [Failure(message, "produce", error) for message in failed if message in self.messages]
        self.drop(set(failed))

    def drop(self, failed: set[QueueMessage]) -> None:
        """Take messages that failed out of `messages`."""
        self.messages = [message for message in self.messages if message not in failed]


class ThreadBatch(Batch):
    """A batch on a thread, of which the event loop may take what is finished while a slow call runs.

    The thread appends to `made` and `failures`, and begins no further call once its slice is over: `hand_off`, which
    is called after that, finds at most one call under way. The lock is taken once a batch, never for a message.

    Attributes:
        began: When the calls began, by `perf_counter`; 0 before.
        done: How many calls were made; known once it is closed.
        handed_off: Whether `hand_off` took anything.
    """

    __slots__ = ("_before", "_closed", "_lock", "_taken", "began", "done", "handed_off")

    def __init__(self, messages: Sequence[QueueMessage]) -> None:
        super().__init__(messages)
        self.began = 0.0
        self.done = 0
        self.handed_off = False
        self._lock = threading.Lock()
        self._closed = False
        self._before = 0
        self._taken = (0, 0, 0)

    def begin(self) -> float:
        """On the thread: the calls begin now. Returns when that is."""
        self._before = len(self.failures)
        self.began = perf_counter()
        return self.began

    def hand_off(self) -> tuple[Batch, list[QueueMessage]] | None:
        """On the event loop, after the slice: take what is finished, and what waits behind the call under way.

        Returns:
            Both; None if there is nothing to take, or the thread is through by itself.
        """
        with self._lock:
            succeeded, failed = len(self.made), len(self.failures)
            finished = succeeded + failed - self._before
            rest = self.messages[finished + 1 :]
            if self._closed or self.handed_off or not (finished or failed or rest):
                return None
            self.handed_off = True
            self._taken = (finished, succeeded, failed)
            part = Batch(self.messages[:finished])
            part.made, part.failures = self.made[:succeeded], self.failures[:failed]
            if failed:
                part.drop({failure.message for failure in part.failures})
            return part, rest

    def close(self, done: int) -> list[QueueMessage]:
        """On the thread, after its last call: keep what is finished and not taken.

        Args:
            done: How many calls were made.

        Returns:
            The messages that were not begun, and that nobody took.
        """
        with self._lock:
            self._closed = True
            self.done = done
            if not self.handed_off:
                rest = self.messages[done:]
                del self.messages[done:]
                return rest
            finished, succeeded, failed = self._taken
            rest = self.messages[done : finished + 1]
            self.messages = self.messages[finished:done]
            del self.made[:succeeded], self.failures[:failed]
            return rest
