"""Messages that travel together: columns that the steps fill from left to right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from penstock.message import QueueMessage, Record
from penstock.settlement import Failure


class Outgoing:
    """The records of one batch for one queue, and whose they are.

    Args:
        encode: The queue's own, and
        carries_keys: whether its backend has keys: at hand, so that a record needs no look at the queue.

    Attributes:
        records: What is to be produced, in order.
        owners: For each record the input message it came from; None where it came from the whole batch.
    """

    __slots__ = ("carries_keys", "encode", "owners", "records")

    def __init__(self, encode: Callable[[Any], bytes | None], carries_keys: bool) -> None:
        self.encode = encode
        self.carries_keys = carries_keys
        self.records: list[Record] = []
        self.owners: list[QueueMessage | None] = []


class Batch:
    """One batch. The columns are as long as `messages`; a message that fails leaves them all and becomes a failure.

    Attributes:
        messages: The deliveries.
        models: What `decode` made of them.
        results: What the function returned; one entry for all of them, where the function takes the whole batch.
        outgoing: Queue name → records.
        failures: What did not make it.
        seconds: How long the function ran for this batch.
    """

    __slots__ = ("failures", "messages", "models", "outgoing", "results", "seconds")

    def __init__(self, messages: Sequence[QueueMessage] = ()) -> None:
        self.messages: list[QueueMessage] = list(messages)
        self.models: list[Any] = []
        self.results: list[Any] = []
        self.outgoing: dict[str, Outgoing] = {}
        self.failures: list[Failure] = []
        self.seconds = 0.0

    def drop(self, failed: set[QueueMessage]) -> None:
        """Take messages that failed out of `messages`."""
        self.messages = [message for message in self.messages if message not in failed]
