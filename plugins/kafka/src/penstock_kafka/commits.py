"""Commits what is safe: once an interval, one commit at a time, again until the broker has said yes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from penstock.errors import ConnectorError
from penstock.offsets import OffsetTracker
from penstock_kafka.errors import Kind, connector_error, describe, kind_of
from penstock_kafka.message import Partition
from penstock_kafka.notes import Notes

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client

log = logging.getLogger("penstock.kafka")

PATIENCE = 30.0  # seconds to wait for the answer to a commit before the next; the client keeps what it cannot send
COMPLAIN_EVERY = 30.0  # seconds without a commit that was needed, before that is said, and before it is said again


class Commits:
    """On the polling thread, which is where the client tells its answers.

    Args:
        tracker: Knows what is safe, and is told what was confirmed.
        notes: Make the text that goes with an offset.
        interval: Seconds between two commits.
        where: For messages.

    Attributes:
        failure: Why committing will never work.
    """

    def __init__(self, tracker: OffsetTracker[Partition], notes: Notes, interval: float, where: str) -> None:
        self.failure: ConnectorError | None = None
        self._tracker = tracker
        self._notes = notes
        self._last: dict[Partition, tuple[TopicPartition, int]] = {}  # what was sent last, and its revision
        self._interval = interval
        self._where = where
        self._next = 0.0
        self._sent: float | None = None  # when, if it was not answered yet
        self._behind_since: float | None = None  # the first commit that was needed since the last that was confirmed
        self._complained = 0.0
        self._refusal = ""

    def tend(self, client: Client) -> None:
        """Commit if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        self._complain(now)
        # One at a time: while the coordinator is away the client keeps them all, to send them in any order.
        if self._sent is None or now - self._sent > PATIENCE:
            self._next = now + self._interval
            self.send(client)

    def soon(self) -> None:
        """It is time to commit."""
        self._next = 0.0

    def send(self, client: Client, keys: Iterable[Partition] | None = None) -> None:
        """Commit what is safe of these partitions, or of all, without waiting for the answer."""
        offsets = self._safe(keys)
        if not offsets and keys is None:
            self._behind_since = None
        if offsets:
            self._sent = time.monotonic()
            if self._behind_since is None:
                self._behind_since, self._refusal = self._sent, ""
            try:
                client.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                self.answered(error.args[0], [])

    def send_and_wait(self, client: Client, keys: Iterable[Partition]) -> None:
        """The same, with the answer; the client may wait long for it."""
        offsets = self._safe(keys)
        if offsets:
            try:
                self.answered(None, client.commit(offsets=offsets, asynchronous=False) or [])
            except KafkaException as error:
                self.answered(error.args[0], [])

    def finish(self, client: Client, poll: Callable[[], object], deadline: float) -> None:
        """Commit until there is nothing left to commit: amid a rebalance the broker refuses, until that is through.

        Args:
            client: The client.
            poll: Polls it, for a moment.
            deadline: When to give up, by `time.monotonic`.
        """
        while self.failure is None and time.monotonic() < deadline:
            if self._sent is None:
                self.send(client)
                if self._sent is None and not self.behind():
                    return
            poll()

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Called by the client. What it confirms is committed; what it refuses is sent again with the next commit."""
        self._sent = None
        refusals = [error] if error is not None else [each.error for each in partitions if each.error is not None]
        for refused in refusals:
            self._refused(refused)
        if not refusals:
            self._behind_since = None
        if error is None:
            for each in partitions:
                if each.error is None:
                    self._tracker.confirm((each.topic, each.partition), each.offset, self._revision(each))

    def behind(self) -> bool:
        """Whether something is settled and not committed."""
        return bool(self._tracker.progress())

    def _revision(self, answer: TopicPartition) -> int | None:
        sent, revision = self._last.get((answer.topic, answer.partition), (answer, None))
        same = sent.offset == answer.offset and (sent.metadata or "") == (answer.metadata or "")
        return revision if same else None

    def _refused(self, error: KafkaError) -> None:
        if self._notes.shrink(error):
            self.soon()
        elif kind_of(error) is Kind.RETRIABLE:
            self._refusal = describe(error)
            log.debug("%s: a commit was refused and is repeated: %s", self._where, error.str())
        else:
            self.failure = self.failure or connector_error(error, f"{self._where}: commit")

    def _complain(self, now: float) -> None:
        """Say that what is done cannot be committed: everything else looks well, so nobody would notice."""
        since = self._behind_since
        if since is None or now - max(since, self._complained) < COMPLAIN_EVERY:
            return
        self._complained = now
        log.warning("%s: what is settled could not be committed for %.0f s, and would come again after a crash: %s; "
                    "it is tried again, look at the group's coordinator", self._where, now - since,
                    self._refusal or "the brokers do not answer")  # fmt: skip

    def _safe(self, keys: Iterable[Partition] | None) -> list[TopicPartition]:
        safe = self._tracker.progress(keys)
        offsets = self._notes.write(safe)
        for each, (key, progress) in zip(offsets, safe.items(), strict=True):
            self._last[key] = (each, progress.revision)
        return offsets
