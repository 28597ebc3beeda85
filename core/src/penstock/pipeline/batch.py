"""Messages that travel together: columns that the steps fill from left to right."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from penstock.message import QueueMessage, Record
from penstock.pipeline.settlement import Failure, failure

Encoded = Sequence[tuple[str, Record]]
"""The records that were made of one message, or of a whole batch, each with the name of its queue."""


Finished = Record | Encoded
"""What was made of one message: a record alone is for the queue that most go to, and saves two tuples a message."""


class OutputColumn:
    """The records of one batch for one queue.

    Attributes:
        records: What is to be produced, in order.
        inputs: For each record the message it was made of; None where it was made of the whole batch.
    """

    __slots__ = ("inputs", "records")

    def __init__(self, records: Sequence[Any] = (), inputs: Sequence[QueueMessage | None] = ()) -> None:
        self.records: list[Record] = list(records)
        self.inputs: list[QueueMessage | None] = list(inputs)


class Batch:
    """One batch. The columns are as long as `messages`; a message that fails leaves them all and becomes a failure.

    Attributes:
        messages: The deliveries.
        models: What `decode` made of them.
        encoded: What was made of what the function returned; one entry for all messages, where the function takes the
            whole batch.
        outputs: Queue name → records.
        failures: What failed.
        seconds: How long the function ran for this batch, the encoding of its outputs included.
    """

    __slots__ = ("encoded", "failures", "messages", "models", "outputs", "seconds")

    def __init__(self, messages: Sequence[QueueMessage] = ()) -> None:
        self.messages: list[QueueMessage] = list(messages)
        self.models: list[Any] = []
        self.encoded: list[Finished] = []
        self.outputs: dict[str, OutputColumn] = {}
        self.failures: list[Failure] = []
        self.seconds = 0.0

    def refuse(self, source: QueueMessage | None, error: BaseException) -> None:
        """An output was refused for good: its input fails; all of them fail if it was made of the whole batch."""
        failed = self.messages if source is None else [source]
        self.failures += [Failure(message, "produce", error) for message in failed if message in self.messages]
        self.drop(set(failed))

    def fail(self, error: BaseException) -> None:
        """The call for all of them failed."""
        self.failures += [failure(message, error) for message in self.messages]
        self.messages = []

    def drop(self, failed: set[QueueMessage]) -> None:
        """Take messages that failed out of `messages`."""
        self.messages = [message for message in self.messages if message not in failed]


class ThreadBatch(Batch):
    """A batch on a thread, of which the event loop may take what is finished while a slow call runs.

    The thread appends one outcome a message, in order, and starts no further call once `cut` is set. `hand_off` sets it
    first, so it finds at most one call under way. The lock is taken once a batch, never for a message.

    Args:
        messages: The deliveries.
        after: A batch that the same thread works on before.

    Attributes:
        outcomes: What each call came to: the records, or the failure.
        cut: Set by the event loop: the thread starts no further call. Reading a clock would cost five times as much.
        claimed: Whether the thread works, or has worked, on it.
        complete: Set by the thread at the end, if it has worked off all messages.
        began: When the calls for single messages began, by `perf_counter`; 0 before.
        handed_off: How many messages `hand_off` took from the front; None if it took nothing.
    """

    __slots__ = (
        "_after",
        "_closed",
        "_lock",
        "_recalled",
        "began",
        "claimed",
        "complete",
        "cut",
        "handed_off",
        "outcomes",
    )

    def __init__(self, messages: Sequence[QueueMessage], after: ThreadBatch | None = None) -> None:
        super().__init__(messages)
        self._after = after
        self.claimed = False
        self.outcomes: list[Finished | Failure] = []
        self.began = 0.0
        self.cut = self.complete = False
        self.handed_off: int | None = None
        self._lock = threading.Lock()
        self._closed = self._recalled = False

    def claim(self) -> bool:
        """On the thread: whether to work on it. Not if it was recalled, or if the batch before it is incomplete: what
        that has left comes first."""
        with self._lock:
            self.claimed = self.runs_next
            if self.claimed:
                self._after = None
            return self.claimed

    @property
    def runs_next(self) -> bool:
        """Whether the thread works on it now, or will as soon as it is free."""
        return not (self.cut or self._recalled) and (self._after is None or self._after.complete)

    def recall(self) -> list[QueueMessage]:
        """On the event loop: take all messages back, if it waits behind another batch."""
        with self._lock:
            if self._after is None:
                return []
            self._recalled = True
            messages, self.messages = self.messages, []
            return messages

    def begin(self) -> float:
        """On the thread: the calls begin now. Returns when that is."""
        self.began = perf_counter()
        return self.began

    def hand_off(self) -> tuple[Batch, list[QueueMessage]] | None:
        """On the event loop: take what is finished, and what waits behind the call under way.

        Returns:
            Both; None if there is nothing to take, or if the thread has ended its work by itself.
        """
        self.cut = True
        with self._lock:
            finished = len(self.outcomes)
            waiting = self.messages[finished + 1 :]
            if self._closed or self.handed_off is not None or not (finished or self.failures or waiting):
                return None
            self.handed_off = finished
            part = Batch()
            part.failures, self.failures = self.failures, []
            _fill(part, self.messages[:finished], self.outcomes[:finished])
            return part, waiting

    def close(self) -> list[QueueMessage]:
        """On the thread, after its last call: keep what is finished and not handed off.

        Returns:
            The messages that were not started and not handed off.
        """
        with self._lock:
            self._closed = True
            done = len(self.outcomes)
            if self.handed_off is None:
                first, unstarted = 0, self.messages[done:]
            else:
                first, unstarted = self.handed_off, self.messages[done : self.handed_off + 1]
            _fill(self, self.messages[first:done], self.outcomes[first:])
            return unstarted


def _fill(batch: Batch, messages: list[QueueMessage], outcomes: list[Finished | Failure]) -> None:
    """Enter messages and what their calls came to."""
    if Failure not in map(type, outcomes):
        batch.messages, batch.encoded = messages, outcomes  # type: ignore[assignment]
        return
    batch.messages, batch.encoded = [], []
    for message, outcome in zip(messages, outcomes, strict=True):
        if isinstance(outcome, Failure):
            batch.failures.append(outcome)
        else:
            batch.messages.append(message)
            batch.encoded.append(outcome)
