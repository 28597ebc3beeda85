"""The records of one `produce` call under way: how many reports are missing, and which records failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.errors import ProduceError
from penstock.message import Record

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

_UNKNOWN = -1


class Delivery:
    """One future for all records of a call, instead of a future, task or closure for each.

    The client reports each record on its polling thread, and the caller waits on the event loop. Either may see the
    last report first: the future is only resolved on the loop's thread.

    Args:
        records: What is sent.
        future: Resolved when every record was reported.
        finished: Called on the polling thread when it has seen the last report.
    """

    __slots__ = ("_expected", "_failed", "_finished", "_refused", "_reported", "future", "next", "records")

    def __init__(
        self, records: Sequence[Record], future: asyncio.Future[None], finished: Callable[[Delivery], None]
    ) -> None:
        self.records = records
        self.future = future
        self.next = 0  # the first record that the client does not have yet
        self._finished = finished
        self._expected = _UNKNOWN  # how many reports will come; known once the client has all records
        self._reported = 0
        self._failed: list[tuple[KafkaError, Message]] = []
        self._refused: dict[int, ProduceError] = {}

    def reported(self, error: KafkaError | None, message: Message) -> None:
        """Called by the client once for each record."""
        if error is not None:
            self._failed.append((error, message))
        self._reported += 1
        if self._reported == self._expected:
            self._finished(self)

    def refuse(self, index: int, error: ProduceError) -> None:
        """The client did not accept this record."""
        self._refused[index] = error

    def all_sent(self) -> None:
        """The client has all records. Called on the loop's thread."""
        self._expected = len(self.records) - len(self._refused)
        if self._reported == self._expected:
            self.resolve()

    def resolve(self) -> None:
        """Wake the caller if it still waits. Called on the loop's thread."""
        if not self.future.done():
            self.future.set_result(None)

    @property
    def refused(self) -> Mapping[int, ProduceError]:
        """The records that the client did not accept, by index."""
        return self._refused

    def failed(self) -> dict[int, KafkaError]:
        """The records that were reported as not stored, by index."""
        if not self._failed:
            return {}
        # A report has key and body, but not the record's index. Equal records of one call all count as failed, so one
        # may be sent once too often, but none is wrongly taken for stored.
        errors = {(message.key(), message.value()): error for error, message in self._failed}
        sent = {
            index: (record.key, record.message)
            for index, record in enumerate(self.records)
            if index not in self._refused
        }
        if not errors.keys() <= set(sent.values()):
            # The client has changed a body (text becomes bytes), so any of the records may be meant.
            error = self._failed[0][0]
            return dict.fromkeys(sent, error)
        return {index: errors[record] for index, record in sent.items() if record in errors}
