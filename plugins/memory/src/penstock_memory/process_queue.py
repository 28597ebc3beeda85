"""A `multiprocessing.Queue` as the source or the target of messages.

It hands out an item and forgets it. So a consumer keeps what it has taken in a queue of its own, with the rules of
`penstock_memory.queue`, and puts back what is not settled when it shuts down.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, Full
from typing import Any

from penstock.errors import ConnectorError
from penstock.message import Headers, QueueMessage, Record


@dataclass(frozen=True, slots=True)
class Item:
    """A record that is more than its body, pickled by `multiprocessing`; of any other record the body alone is put.

    Attributes:
        visible_at: Seconds since the epoch until which the message is delayed.
    """

    body: bytes | None
    key: bytes | None
    headers: Headers
    visible_at: float


class ProcessQueue:
    """Takes and puts messages.

    Args:
        queue: The `multiprocessing.Queue`.
        name: What errors call it.
    """

    def __init__(self, queue: Any, name: str) -> None:
        self._queue = queue
        self._name = name

    def take(self, max_messages: int) -> list[Record]:
        """Up to so many of the items that are at hand.

        Raises:
            ConnectorError: an item is not bytes, text, or what JSON can say; it is put back.
        """
        records: list[Record] = []
        try:
            while len(records) < max_messages:
                records.append(self._record(self._queue.get_nowait()))
        except Empty:
            pass
        except ConnectorError:
            if not records:
                raise
        return records

    def _record(self, item: Any) -> Record:
        if isinstance(item, bytes):
            return Record(item)
        if isinstance(item, Item):
            return Record(item.body, item.key, item.headers, max(0.0, item.visible_at - time.time()))
        if isinstance(item, str):
            return Record(item.encode())
        try:
            return Record(json.dumps(item, allow_nan=False).encode())
        except (TypeError, ValueError) as error:
            self._queue.put(item)
            raise ConnectorError(
                f"the multiprocessing.Queue of {self._name!r} has an item of type {type(item).__name__}, which is not "
                "a message; put bytes, text, or objects that JSON can say"
            ) from error

    def put(self, record: Record, timeout: float) -> bool:
        """Put one record, waiting for room up to `timeout` seconds; whether there was room."""
        plain = not (record.message is None or record.key is not None or record.headers or record.delay)
        item = Item(record.message, record.key, record.headers, time.time() + record.delay)
        try:
            self._queue.put(record.message if plain else item, timeout > 0, timeout)
        except Full:
            return False
        return True

    def put_back(self, messages: Sequence[QueueMessage], timeout: float) -> int:
        """Put messages back for other consumers; returns how many found no room in time."""
        deadline = time.monotonic() + timeout
        records = [Record(message.message, message.key, message.headers) for message in messages]
        return sum(not self.put(record, max(0.0, deadline - time.monotonic())) for record in records)

    def lag(self) -> int | None:
        """Items that wait; None where the system cannot count them (macOS)."""
        try:
            return int(self._queue.qsize())
        except NotImplementedError:
            return None
