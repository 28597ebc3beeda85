"""Kafka's topics as an input queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import ClassVar

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaException, TopicPartition, libversion

from penstock.connectors import Backlog, BlockingConsumer, Probed
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import BrowsedMessage, QueueMessage
from penstock.offsets import OffsetTracker
from penstock.redelivery import Redelivery
from penstock.timeouts import run_with_timeout
from penstock_kafka.assignment import Assignment, keys_of
from penstock_kafka.browsing import Browser
from penstock_kafka.client_reader import ClientReader
from penstock_kafka.commit_metadata import CommitMetadata
from penstock_kafka.commits import Commits
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.errors import connector_error, describe
from penstock_kafka.message import KafkaMessage, KafkaMessages, Partition
from penstock_kafka.options import KafkaOptions, topics
from penstock_kafka.probing import probe
from penstock_kafka.start import begin_at

log = logging.getLogger("penstock.kafka")

LIBRDKAFKA = 0x020E0000  # 2.14.0
POLL_SLICE = 0.1  # seconds of one wait in the client; settlements and redeliveries are handled between two waits
POLL_EVERY = 1.0  # seconds after which the client is polled even if there are enough messages without it
ANSWER_SLICE = 0.02  # seconds of one wait for the answer to the last commit
FULL_BEFORE_PAUSE = 1.0  # seconds without room before a pause, which discards what was fetched ahead
COMMIT_TIMEOUT = 5.0  # seconds for the last commit
CLOSE_TIMEOUT = 4.0  # seconds to leave the group
REPLACE_AFTER = 30.0  # seconds without an answer while nothing is assigned; then a new client is made


class KafkaConsumer(BlockingConsumer):
    """Consumes as a member of a group. Settles in any order, and commits once a second what is safe."""

    keep_polling: ClassVar[bool] = True
    settles_at_once: ClassVar[bool] = True  # the polling thread commits

    def __init__(self, name: str, options: KafkaOptions) -> None:
        super().__init__(name, options)
        self._options = options
        self._topics = topics(name, "input")
        self.server = f"Kafka at {options.brokers}"
        self._browser = Browser(name, options)
        self._reader = ClientReader(name, self.server)
        self._redelivery = Redelivery[KafkaMessage]()
        self._settled = threading.Event()
        self._tracker: OffsetTracker[Partition] = OffsetTracker()
        self._metadata = CommitMetadata(self.server)
        self._commits = self._make_commits()
        self._connected: tuple[Client, Assignment] | None = None
        self._subscribed = self._closing = False
        self._full_since: float | None = None
        self._unanswered_since: float | None = None

    # -- connecting

    def connect(self) -> None:
        """Make the client, check brokers and topics, and join the group; after an outage only check."""
        self._replace_if_stuck()
        if self._connected is None:
            self._connected = self._make_client()
        client, assignment = self._connected
        options = self._options

        def serve() -> None:
            self._reader.poll(client, assignment, 0)

        try:
            self._metadata.cluster = check_connection(
                client, serve, self._reader.callbacks, self._topics, options.brokers, options.connect_timeout
            )
        except NotConnected:
            self._unanswered_since = self._unanswered_since or time.monotonic()
            raise
        self._unanswered_since = None
        if not self._subscribed:
            try:
                client.subscribe(
                    self._topics,
                    on_assign=partial(self._on_assign, assignment),
                    on_revoke=partial(self._on_revoke, assignment),
                    on_lost=partial(self._on_lost, assignment),
                )
            except KafkaException as error:
                raise connector_error(error.args[0], f"{self.server}: {self.name}") from None
            self._subscribed = True

    def _replace_if_stuck(self) -> None:
        """Replace a client that has had no answer for long and holds nothing that could be lost.

        Usually the brokers are away. But a client was seen that did not try to connect again after they were back.
        """
        now = time.monotonic()
        if self._connected is None or self._unanswered_since is None or self._tracker.ledgers():
            return
        if now - self._unanswered_since < REPLACE_AFTER:
            return
        log.warning("%s: no answer for %.0f s; trying with a new client", self.server, now - self._unanswered_since)
        client, _assignment = self._connected
        self._connected, self._subscribed, self._unanswered_since = None, False, None
        self._commits = self._make_commits()
        try:
            with suppress(TimeoutError):
                run_with_timeout(client.close, CLOSE_TIMEOUT)
        except KafkaException as error:
            log.warning("%s: the old client did not close cleanly: %s", self.server, describe(error.args[0]))

    def _make_commits(self) -> Commits:
        interval = None if self._options.commit == "never" else self._options.commit_interval
        return Commits(self._tracker, self._metadata, interval, self.server)

    def _make_client(self) -> tuple[Client, Assignment]:
        if libversion()[1] < LIBRDKAFKA:
            # The required confluent-kafka may have been built on an older library of the system.
            raise FatalConnectorError(
                f"librdkafka {libversion()[0]} can pass over messages after a pause (its issue 4844); "
                "install confluent-kafka 2.14 or later from its wheel"
            )
        options = self._options
        settings = options.client_settings("input") | {"on_commit": self._commits.answered}
        try:
            client = Client(self._reader.callbacks.listening(settings))
        except KafkaException as error:
            raise invalid_settings(error) from None
        if options.commit == "never":
            log.warning("%s: 'commit: never': group %r commits nothing, so each start, and each partition that moves "
                        "to another worker, is read again from where the group stands",
                        self.server, options.group_id)  # fmt: skip
        alone = len(self._topics) == 1 and not self.name.startswith("^")
        topic = self._topics[0] if alone else None
        return client, Assignment(
            client, self._tracker, options.max_uncommitted, options.cooperative(), topic, self._metadata
        )

    def _open(self) -> tuple[Client, Assignment]:
        if self._connected is None:
            raise ConnectorError("not connected; call connect() first, and nothing after shutdown()")
        return self._connected

    # -- consuming

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """See `Consumer.consume`. Redeliveries come before new messages; without room only the membership is kept."""
        client, assignment = self._open()
        self._reader.raise_failure(self._commits.failure)
        deadline = time.monotonic() + min(timeout, self._options.poll_interval or timeout)
        if max_messages < 1:
            self._keep_alive(client, assignment, deadline)
            return ()
        self._full_since = None
        while True:
            self._maintain(client, assignment)
            held = self._commits_are_overdue(client, assignment)
            if held:
                assignment.pause()
            elif messages := self._next_messages(client, assignment, max_messages):
                return messages
            assignment.refresh()
            left = deadline - time.monotonic()
            if left <= 0:
                return []
            self._reader.raise_failure(self._commits.failure)
            due = None if held else self._redelivery.wait()
            # Wait for one message only: the client would wait until it has all that are asked for.
            self._reader.poll(client, assignment, min(POLL_SLICE, left, POLL_SLICE if due is None else due))

    def _commits_are_overdue(self, client: Client, assignment: Assignment) -> bool:
        if self._commits.overdue():
            self._reader.poll(client, assignment, 0)  # the answer may have come
        return self._commits.overdue()

    def _next_messages(self, client: Client, assignment: Assignment, most: int) -> Sequence[KafkaMessage]:
        new: Sequence[KafkaMessage] = ()
        # Poll before taking redeliveries: polling may run a rebalance, which drops them. Nothing may be held locally
        # across the poll.
        if (room := most - self._redelivery.due() - len(self._reader.ready)) > 0:
            assignment.resume()
            new = self._reader.read(client, assignment, room)
        elif time.monotonic() - self._reader.polled > POLL_EVERY:
            if self._reader.ready:
                assignment.pause()  # else each such poll would bring one more message
            self._reader.poll(client, assignment, 0)
        # Redeliveries that became due since then must not put the younger of these messages before the older ones.
        messages = self._redelivery.take(most - len(new) - (len(self._reader.ready) if new else 0))
        if self._reader.ready:
            messages += self._reader.take_ready(most - len(new) - len(messages))
        return [*messages, *new] if messages else new

    def _keep_alive(self, client: Client, assignment: Assignment, deadline: float) -> None:
        """Stay in the group without room. Polling would bring messages, so at first only wait for settlements."""
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
        polling = now - self._full_since >= FULL_BEFORE_PAUSE
        if polling:
            assignment.pause()
        self._maintain(client, assignment)
        while True:
            left = deadline - time.monotonic()
            if polling:
                self._reader.poll(client, assignment, max(0.0, min(POLL_SLICE, left)))
            elif left > 0:
                self._settled.wait(left)
            if left <= 0 or self._settled.is_set():
                self._settled.clear()
                return

    def _maintain(self, client: Client, assignment: Assignment) -> None:
        """Commit, pause and resume, if it is time."""
        if assignment.begun:
            assignment.begun = False
            self._commits.soon()
        self._commits.maintain(client)
        assignment.maintain()

    # -- settling; no thread may wait for the polling thread here, so nothing calls the client

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Mark for commit; the polling thread commits."""
        ours: Sequence[KafkaMessage] = messages  # type: ignore[assignment]
        if isinstance(messages, KafkaMessages) and not messages.made:
            late = messages.done()
        else:
            late = self._redelivery.succeed(ours)
        self._settled.set()
        return late

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """Deliver again from memory. The offsets stay open, so after a crash the broker delivers again."""
        ours: Sequence[KafkaMessage] = messages  # type: ignore[assignment]
        late = self._redelivery.requeue(ours, delay or 0.0)
        self._settled.set()
        return late

    def lag(self) -> int | None:
        """Messages of our partitions that were not delivered yet, and those that wait here for redelivery."""
        connected = self._connected
        if connected is None:
            return None
        lag = connected[1].lag()
        return None if lag is None else lag + len(self._redelivery) + len(self._reader.ready)

    def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """All that the topics keep, sorted by topic, partition and offset; without a group, and without a commit."""
        return self._browser.browse(limit, after)

    def follow(self, timeout: float) -> Sequence[BrowsedMessage]:
        """See `Consumer.follow`."""
        return self._browser.follow(timeout)

    def backlog(self) -> Backlog:
        """See `Consumer.backlog`: what the group has not settled, as far as it is committed."""
        return self._browser.backlog()

    def seek(self, to: str | datetime) -> None:
        """See `Consumer.seek`: other offsets are committed, by an administrator's client."""
        self._browser.seek(to)

    def probe(self) -> Sequence[Probed]:
        """See `Consumer.probe`: by an administrator's client, which is in no group."""
        return probe(self.name, self.options, "input")

    # -- rebalances; called on the polling thread, inside of the client's calls

    def _on_assign(self, assignment: Assignment, client: Client, partitions: list[TopicPartition]) -> None:
        if isinstance(self._options.start, datetime):
            partitions = begin_at(client, partitions, self._options.start, self.server)
        assignment.assigned(partitions)
        log.info("%s: assigned: %s", self.server, _names(partitions))

    def _on_revoke(self, assignment: Assignment, client: Client, partitions: list[TopicPartition]) -> None:
        keys = keys_of(partitions)
        if self._closing:
            self._commits.send(client, keys)
        else:
            self._await_settlement(keys)
            # On this thread, because the client blocks all others during this callback. The wait is short, because the
            # coordinator has just answered.
            self._commits.send_and_wait(client, keys)
        assignment.ended(keys, lost=False)
        log.info("%s: revoked: %s", self.server, _names(partitions))

    def _on_lost(self, assignment: Assignment, _client: Client, partitions: list[TopicPartition]) -> None:
        # Another member may own them already, so nothing is committed; open messages are delivered again there.
        keys = keys_of(partitions)
        self._forget_waiting(keys)
        assignment.ended(keys, lost=True)
        self._commits.lost()
        log.warning("%s: lost: %s", self.server, _names(partitions))

    def _await_settlement(self, keys: Sequence[Partition]) -> None:
        """Wait until messages under way are settled. Drop requeued ones, and those not returned by `consume` yet."""
        ledgers = [ledger for key in keys if (ledger := self._tracker.ledger(key)) is not None]
        deadline = time.monotonic() + self._options.revoke_wait()
        forgotten = self._forget_waiting(keys)
        while sum(ledger.open for ledger in ledgers) > forgotten:
            self._settled.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._settled.wait(min(left, POLL_SLICE))
            forgotten += self._redelivery.forget(keys)

    def _forget_waiting(self, keys: Sequence[Partition]) -> int:
        return self._reader.forget(keys) + self._redelivery.forget(keys)

    # -- ending

    def shutdown(self) -> None:
        """Commit what is safe and leave the group. Open messages are delivered again to the next owner."""
        self._browser.close()
        if self._connected is None:
            return
        client, assignment = self._connected
        self._closing = True
        try:
            run_with_timeout(lambda: self._end(client, assignment), COMMIT_TIMEOUT + CLOSE_TIMEOUT)
        except TimeoutError:
            log.warning("%s: the group was not left in time; it notices by itself", self.server)
        except KafkaException as error:
            raise connector_error(error.args[0], f"{self.server}: closing") from None
        finally:
            # Later settlements are late, even if the client could not leave the group.
            assignment.ended([ledger.partition for ledger in self._tracker.ledgers()], lost=True)
            self._connected = None

    def _end(self, client: Client, assignment: Assignment) -> None:
        try:
            # Polling for the answer to the last commit would otherwise bring more messages.
            assignment.pause()
            deadline = time.monotonic() + COMMIT_TIMEOUT
            self._commits.finish(client, lambda: self._reader.poll(client, assignment, ANSWER_SLICE), deadline)
            if self._commits.behind():
                log.warning("%s: the last commit was not confirmed in time; its messages come again", self.server)
            if self._subscribed and not self._tracker.ledgers():
                # librdkafka 2.16 does not leave the group when a cooperative member without partitions closes, so all
                # others would wait until its session ends. Unsubscribing first leaves it.
                client.unsubscribe()
                client.poll(POLL_SLICE)
        finally:
            client.close()


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{each.topic}/{each.partition}" for each in partitions) or "none"
