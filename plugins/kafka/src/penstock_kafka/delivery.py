"""The records of one `produce` call on their way: how many reports are still to come, and which records failed."""

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
    """One future for all records of a call: none, and no task or closure, for a single one.

    The client reports each record on its polling thread; the caller waits on the event loop. Which of the two sees the
    last report first does not matter: the future is only ever resolved on the loop's thread.

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
        self.next = 0  # the first record that was not given to the client yet
        self._finished = finished
        self._expected = _UNKNOWN  # reports to come in all; known once everything was given to the client
        self._reported = 0
        self._failed: list[tuple[KafkaError, Message]] = []
        self._refused: dict[int, ProduceError] = {}

    def reported(self, error: KafkaError | None, message: Message) -> None:
        """Called by the client, once a record."""
        if error is not None:
            self._failed.append((error, message))
        self._reported += 1
        if self._reported == self._expected:
            self._finished(self)

    def refuse(self, index: int, error: ProduceError) -> None:
        """The client did not even take this record."""
        self._refused[index] = error

    def all_sent(self) -> None:
        """Everything was given to the client; on the loop's thread."""
        self._expected = len(self.records) - len(self._refused)
        if self._reported == self._expected:
            self.resolve()

    def resolve(self) -> None:
        """Wake the caller, unless it is awake or gone; on the loop's thread."""
        if not self.future.done():
            self.future.set_result(None)

    @property
    def refused(self) -> Mapping[int, ProduceError]:
        """By index, the records that the client did not take."""
        return self._refused

    def failed(self) -> dict[int, KafkaError]:
        """By index, the records that were reported as not stored."""
        if not self._failed:
            return {}
        # A report shows key and body, not which record it is about. Of records that are alike in both and went into one
        # call, all count as failed: one of them may then be sent once too often, none is ever taken for stored.
        errors = {(message.key(), message.value()): error for error, message in self._failed}
        sent = {
            index: (record.key, record.message)
            for index, record in enumerate(self.records)
            if index not in self._refused
        }
        if not errors.keys() <= set(sent.values()):
            # The client has sent something else than it was given (text becomes bytes): any of them may be meant.
            error = self._failed[0][0]
            return dict.fromkeys(sent, error)
        return {index: errors[record] for index, record in sent.items() if record in errors}
