"""Commits what is safe: once in an interval, one commit at a time, and again until the broker confirms it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from penstock.errors import ConnectorError
from penstock.offsets import OffsetTracker
from penstock_kafka.commit_metadata import CommitMetadata
from penstock_kafka.errors import Kind, connector_error, describe, kind_of
from penstock_kafka.message import Partition

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client

log = logging.getLogger("penstock.kafka")

ANSWER_TIMEOUT = 30.0  # seconds to wait for an answer before the next commit; the client keeps what it cannot send
REPEAT_FOR = 2.0  # seconds in which a commit that is waited for is repeated; another member waits for it
REPEAT_AFTER = 0.05  # seconds
REPORT_INTERVAL = 30.0  # seconds without a needed commit before it is reported (again)


class Commits:
    """Used on the polling thread, on which the client reports its answers.

    Args:
        tracker: Knows what is safe, and learns what was confirmed.
        metadata: Writes the text that is committed with an offset.
        interval: Seconds between two commits; None to commit nothing.
        where: For messages.

    Attributes:
        failure: The error if committing will never work.
    """

    def __init__(
        self, tracker: OffsetTracker[Partition], metadata: CommitMetadata, interval: float | None, where: str
    ) -> None:
        self.failure: ConnectorError | None = None
        self._tracker = tracker
        self._metadata = metadata
        self._last: dict[Partition, tuple[TopicPartition, int]] = {}  # the last one sent, and its revision
        self._interval = interval
        self._where = where
        self._next = 0.0
        self._sent: float | None = None  # when, if it has no answer yet
        self._behind_since: float | None = None  # the first commit that was needed since the last confirmation
        self._reported = 0.0
        self._rejection = ""

    def maintain(self, client: Client) -> None:
        """Commit if it is time."""
        now = time.monotonic()
        if self._interval is None or now < self._next:
            return
        self._report_delay(now)
        # One at a time: while the coordinator is away, the client keeps all and sends them in any order.
        if self._sent is None or now - self._sent > ANSWER_TIMEOUT:
            self._next = now + self._interval
            self.send(client)

    def soon(self) -> None:
        """Let the next `maintain` commit."""
        self._next = 0.0

    def send(self, client: Client, keys: Iterable[Partition] | None = None) -> None:
        """Commit what is safe of these partitions, or of all, without waiting for the answer."""
        offsets = self._safe(keys)
        if not offsets and keys is None:
            self._behind_since = None
        if offsets:
            self._sent = time.monotonic()
            if self._behind_since is None:
                self._behind_since, self._rejection = self._sent, ""
            try:
                client.commit(offsets=offsets, asynchronous=True)
            except KafkaException as error:
                self.answered(error.args[0], [])

    def send_and_wait(self, client: Client, keys: Iterable[Partition]) -> None:
        """Like `send`, but wait for the answer, which may take long, and repeat what is rejected amid a rebalance."""
        keys = list(keys)
        deadline = time.monotonic() + REPEAT_FOR
        while offsets := self._safe(keys):
            try:
                self.answered(None, client.commit(offsets=offsets, asynchronous=False) or [])
            except KafkaException as error:
                self.answered(error.args[0], [])
            if self.failure is not None or time.monotonic() > deadline:
                return
            if self._tracker.progress(keys):
                time.sleep(REPEAT_AFTER)

    def finish(self, client: Client, poll: Callable[[], object], deadline: float) -> None:
        """Commit until nothing is left: during a rebalance the broker rejects commits.

        Args:
            client: The client.
            poll: Polls it for a moment.
            deadline: When to give up, by `time.monotonic`.
        """
        while self.failure is None and time.monotonic() < deadline:
            if self._sent is None:
                self.send(client)
                if self._sent is None and not self.behind():
                    return
            poll()

    def answered(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Called by the client. What it rejects is sent again with the next commit."""
        self._sent = None
        rejections = [error] if error is not None else [each.error for each in partitions if each.error is not None]
        for rejection in rejections:
            self._rejected(rejection)
        if not rejections:
            self._behind_since = None
        if error is None:
            for each in partitions:
                if each.error is None:
                    self._tracker.confirm((each.topic, each.partition), each.offset, self._revision(each))

    def overdue(self) -> bool:
        """Whether a commit has waited for its confirmation for longer than an interval.

        Meanwhile nothing new is delivered: all of it would come again if the partitions were lost.
        """
        if self._interval is None or self._behind_since is None:
            return False
        return time.monotonic() - self._behind_since > self._interval

    def lost(self) -> None:
        """The partitions are lost, and what was not committed with them: no answer is waited for any more."""
        self._sent = self._behind_since = None

    def behind(self) -> bool:
        """Whether something is settled and not committed."""
        return self._interval is not None and bool(self._tracker.progress())

    def _revision(self, answer: TopicPartition) -> int | None:
        sent, revision = self._last.get((answer.topic, answer.partition), (answer, None))
        same = sent.offset == answer.offset and (sent.metadata or "") == (answer.metadata or "")
        return revision if same else None

    def _rejected(self, error: KafkaError) -> None:
        if self._metadata.shrink(error):
            self.soon()
        elif kind_of(error) is Kind.RETRIABLE:
            self._rejection = describe(error)
            log.debug("%s: a commit was rejected and is repeated: %s", self._where, error.str())
        else:
            self.failure = self.failure or connector_error(error, f"{self._where}: commit")

    def _report_delay(self, now: float) -> None:
        """Report that nothing can be committed, because everything else looks well."""
        since = self._behind_since
        if since is None or now - max(since, self._reported) < REPORT_INTERVAL:
            return
        self._reported = now
        log.warning("%s: settled messages could not be committed for %.0f s, and would come again after a crash; "
                    "nothing new is consumed meanwhile: %s; the commit is tried again, look at the group's coordinator",
                    self._where, now - since, self._rejection or "the brokers do not answer")  # fmt: skip

    def _safe(self, keys: Iterable[Partition] | None) -> list[TopicPartition]:
        if self._interval is None:
            return []
        safe = self._tracker.progress(keys)
        offsets = self._metadata.write(safe)
        for each, (key, progress) in zip(offsets, safe.items(), strict=True):
            self._last[key] = (each, progress.revision)
        return offsets
