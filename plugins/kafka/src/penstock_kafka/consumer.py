"""Kafka's topics as an input queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition, libversion

from penstock.connectors import BlockingConsumer
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import QueueMessage
from penstock.offsets import Ledger
from penstock_kafka.assignment import Assignment, keys_of
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.errors import Kind, connector_error, describe, kind_of
from penstock_kafka.listener import Listener
from penstock_kafka.message import KafkaMessage, Partition
from penstock_kafka.options import KafkaOptions, topics
from penstock_kafka.redelivery import Redelivery

log = logging.getLogger("penstock_kafka")

LIBRDKAFKA = 0x020E0000  # 2.14.0
POLL_SLICE = 0.1  # seconds of one wait in the client; what was settled or given back meanwhile is looked at after it
FULL_BEFORE_PAUSE = 1.0  # seconds without room before a pause, which throws away what was fetched ahead
COMMIT_PATIENCE = (
    30.0  # seconds to wait for the answer to a commit before the next; the client keeps what it cannot send
)
COMMIT_TIMEOUT = 5.0  # seconds for a commit that is waited for; the client itself would wait for a minute
CLOSE_TIMEOUT = 4.0  # seconds to leave the group

_error = Message.error


class KafkaConsumer(BlockingConsumer):
    """Consumes as a member of a group, settles in any order, commits what is safe once a second."""

    keep_polling: ClassVar[bool] = True

    def __init__(self, name: str, options: KafkaOptions) -> None:
        super().__init__(name, options)
        self._options = options
        self._topics = topics(name, "input")
        self._where = f"Kafka at {options.brokers}"
        self._listener = Listener()
        self._redelivery = Redelivery()
        self._ready: list[KafkaMessage] = []  # taken from the client, and not asked for yet
        self._settled = threading.Event()
        self._connected: tuple[Client, Assignment] | None = None
        self._subscribed = self._closing = False
        self._failure: ConnectorError | None = None
        self._full_since: float | None = None
        self._next_commit = 0.0
        self._commit_sent: float | None = None  # when, if it was not answered yet

    # -- connecting

    def connect(self) -> None:
        """Make the client, check brokers and topics, join the group; after an outage only check."""
        if self._connected is None:
            self._connected = self._make_client()
        client, assignment = self._connected
        options = self._options

        def serve() -> None:
            self._receive(client.poll(0), assignment)

        check_connection(client, serve, self._listener, self._topics, options.brokers, options.connect_timeout)
        if not self._subscribed:
            client.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
            self._subscribed = True

    def _make_client(self) -> tuple[Client, Assignment]:
        if libversion()[1] < LIBRDKAFKA:
            # A fitting confluent-kafka is required, but one may be built on an older library of the system.
            raise FatalConnectorError(
                f"librdkafka {libversion()[0]} can pass over messages after a pause (its issue 4844); "
                "install confluent-kafka 2.14 or later from its wheel"
            )
        options = self._options
        settings = options.client_settings("input")
        settings |= {"error_cb": self._listener.error, "on_commit": self._on_commit, "logger": self._listener}
        try:
            client = Client(settings)
        except KafkaException as error:
            raise invalid_settings(error) from None
        alone = len(self._topics) == 1 and not self.name.startswith("^")
        topic = self._topics[0] if alone else None
        return client, Assignment(client, options.max_uncommitted, options.cooperative(), topic)

    def _open(self) -> tuple[Client, Assignment]:
        if self._connected is None:
            raise ConnectorError("not connected: connect() comes first, and nothing comes after shutdown()")
        return self._connected

    # -- consuming

    def consume(self, max_messages: int, timeout: float) -> Sequence[QueueMessage]:
        """Messages that are due again come first, then new ones; with room for none, only the membership is kept."""
        client, assignment = self._open()
        self._raise_failure()
        deadline = time.monotonic() + min(timeout, self._options.poll_interval or timeout)
        if max_messages < 1:
            self._keep_alive(client, assignment, deadline)
            return ()
        self._full_since = None
        assignment.resume()
        while True:
            self._tend(client, assignment)
            messages = self._at_hand(client, assignment, max_messages)
            left = deadline - time.monotonic()
            if messages or left <= 0:
                return messages
            self._raise_failure()
            due = self._redelivery.wait()
            # The client would wait for as many messages as it is asked for: so one is waited for, the rest only taken.
            self._receive(client.poll(min(POLL_SLICE, left, POLL_SLICE if due is None else due)), assignment)

    def _at_hand(self, client: Client, assignment: Assignment, most: int) -> list[KafkaMessage]:
        messages = self._redelivery.take(most)
        if self._ready:
            room = most - len(messages)
            messages += [each for each in self._ready[:room] if each.ledger.live]
            del self._ready[:room]
        if len(messages) < most:
            found = client.consume(most - len(messages), 0)
            if found:
                messages += self._accept(found, assignment)
        return messages

    def _receive(self, message: Message | None, assignment: Assignment) -> None:
        """Keep what a poll has brought: dropped, it would be passed over."""
        if message is not None:
            self._ready += self._accept([message], assignment)

    def _accept(self, found: list[Message], assignment: Assignment) -> list[KafkaMessage]:
        """Sort out what is no message; note the rest as open."""
        if any(map(_error, found)):
            for each in found:
                error = each.error()
                if error is not None:
                    self._heard(each, error, assignment)
            found = [each for each in found if each.error() is None]
        return assignment.take(found) if found else []

    def _heard(self, message: Message, error: KafkaError, assignment: Assignment) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error.code() == KafkaError._PARTITION_EOF:
            if topic is not None and partition is not None and offset is not None:
                assignment.at_end((topic, partition), offset)
            return
        problem = connector_error(error, f"{self._where}: {topic or self.name}")
        if isinstance(problem, NotConnected):
            log.warning("%s", problem)  # the client tries again by itself
        else:
            self._failure = self._failure or problem

    def _keep_alive(self, client: Client, assignment: Assignment, deadline: float) -> None:
        """There is no room. Polling would bring messages, so at first nothing is done but to wait for settlements."""
        now = time.monotonic()
        if self._full_since is None:
            self._full_since = now
        polling = now - self._full_since >= FULL_BEFORE_PAUSE
        if polling:
            assignment.pause()
        self._tend(client, assignment)
        while True:
            left = deadline - time.monotonic()
            if polling:
                self._receive(client.poll(max(0.0, min(POLL_SLICE, left))), assignment)
            elif left > 0:
                self._settled.wait(left)
            if left <= 0 or self._settled.is_set():
                self._settled.clear()
                return

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._listener.fatal is not None:
            raise FatalConnectorError(f"{self._where}: {describe(self._listener.fatal)}")
        if self._listener.down:
            self._listener.down = False  # once an outage: the client reconnects by itself
            raise NotConnected(f"{self._where}: {self._listener.reason('all brokers are down')}")

    # -- settling

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Mark for commit; the polling thread commits."""
        if not messages:
            return 0
        ours: Sequence[KafkaMessage] = messages  # type: ignore[assignment]
        ledgers = [message.ledger for message in ours]
        offsets = [message.offset for message in ours]
        if ledgers.count(ledgers[0]) == len(ledgers):
            late = ledgers[0].done(offsets)
        else:
            by_ledger: dict[Ledger[Partition], list[int]] = {}
            for ledger, offset in zip(ledgers, offsets, strict=True):
                by_ledger.setdefault(ledger, []).append(offset)
            late = sum(ledger.done(done) for ledger, done in by_ledger.items())
        self._settled.set()
        return late

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> None:
        """Deliver again from memory; the offsets stay open, so a crash delivers again from the broker."""
        ours: Sequence[KafkaMessage] = messages  # type: ignore[assignment]
        self._redelivery.give_back(ours, delay or 0.0)
        self._settled.set()

    def lag(self) -> int | None:
        """Messages of our partitions that were not delivered, and those that wait here to be delivered again."""
        if self._connected is None:
            return None
        lag = self._connected[1].lag()
        return None if lag is None else lag + len(self._redelivery) + len(self._ready)

    # -- committing

    def _tend(self, client: Client, assignment: Assignment) -> None:
        """What is due beside messages."""
        now = time.monotonic()
        if now >= self._next_commit:
            self._next_commit = now + self._options.commit_interval
            # One at a time: while the coordinator is away the client keeps them all, to send them in any order.
            if self._commit_sent is None or now - self._commit_sent > COMMIT_PATIENCE:
                self._commit(client, assignment.tracker.to_commit())
        assignment.let_go()

    def _commit(self, client: Client, safe: dict[Partition, int], wait: bool = False) -> None:
        if not safe:
            return
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in safe.items()]
        try:
            if wait:
                self._on_commit(None, client.commit(offsets=offsets, asynchronous=False) or [])
            else:
                self._commit_sent = time.monotonic()
                client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], [])

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Called by the client. What it confirms is committed; what it refuses is sent again with the next commit."""
        self._commit_sent = None
        for refused in [error] if error is not None else [each.error for each in partitions if each.error is not None]:
            if kind_of(refused) is Kind.RETRIABLE:
                log.debug("%s: a commit was refused and is repeated: %s", self._where, refused.str())
            else:
                self._failure = self._failure or connector_error(refused, f"{self._where}: commit")
        if error is None and self._connected is not None:
            tracker = self._connected[1].tracker
            for each in partitions:
                if each.error is None:
                    tracker.confirm((each.topic, each.partition), each.offset)

    # -- rebalances; called on the polling thread, inside of the client's calls

    def _on_assign(self, client: Client, partitions: list[TopicPartition]) -> None:  # noqa: ARG002
        self._open()[1].assigned(partitions)
        log.info("%s: assigned: %s", self._where, _names(partitions))

    def _on_revoke(self, client: Client, partitions: list[TopicPartition]) -> None:
        assignment, keys = self._open()[1], keys_of(partitions)
        if not self._closing:
            self._await_settlement(assignment, keys)
        # Here, not on a thread of its own: while this callback runs, the client lets nobody else in. The group has just
        # been heard of, so the wait is short.
        self._commit(client, assignment.tracker.to_commit(keys), wait=True)
        assignment.ended(keys, lost=False)
        log.info("%s: revoked: %s", self._where, _names(partitions))

    def _on_lost(self, client: Client, partitions: list[TopicPartition]) -> None:  # noqa: ARG002
        # Somebody else may own them already: nothing is committed, what is open comes again there.
        keys = keys_of(partitions)
        self._forget_waiting(keys)
        self._open()[1].ended(keys, lost=True)
        log.warning("%s: lost: %s", self._where, _names(partitions))

    def _await_settlement(self, assignment: Assignment, keys: Sequence[Partition]) -> None:
        """Give messages under way the time to be settled; what was given back, or never handed out, will not be."""
        ledgers = [ledger for key in keys if (ledger := assignment.tracker.ledger(key)) is not None]
        deadline = time.monotonic() + self._options.patience_on_revoke()
        forgotten = self._forget_waiting(keys)
        while sum(ledger.open for ledger in ledgers) > forgotten:
            self._settled.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._settled.wait(min(left, POLL_SLICE))
            forgotten += self._redelivery.forget(keys)

    def _forget_waiting(self, keys: Sequence[Partition]) -> int:
        kept = [each for each in self._ready if each.ledger.partition not in keys]
        dropped = len(self._ready) - len(kept)
        self._ready = kept
        return dropped + self._redelivery.forget(keys)

    # -- ending

    def shutdown(self) -> None:
        """Commit what is safe, leave the group. What is open is delivered again, to whom the partitions go."""
        if self._connected is None:
            return
        client, assignment = self._connected
        self._closing = True
        _within(COMMIT_TIMEOUT, lambda: self._commit_all(client, assignment, time.monotonic() + COMMIT_TIMEOUT))
        if assignment.tracker.to_commit():
            log.warning("%s: the last commit was not confirmed in time; its messages come again", self._where)
        if not _within(CLOSE_TIMEOUT, lambda: self._leave(client, assignment)):
            log.warning("%s: the group was not left in time; it notices by itself", self._where)
        self._connected = None

    def _commit_all(self, client: Client, assignment: Assignment, deadline: float) -> None:
        """Commit until the broker says yes: amid a rebalance it refuses, until that is through."""
        while safe := assignment.tracker.to_commit():
            self._commit(client, safe, wait=True)
            if not assignment.tracker.to_commit() or self._failure is not None or time.monotonic() >= deadline:
                return
            self._receive(client.poll(POLL_SLICE), assignment)

    def _leave(self, client: Client, assignment: Assignment) -> None:
        if self._subscribed and not assignment.tracker.ledgers():
            # librdkafka 2.16 does not tell the group when a cooperative member without partitions closes: all others
            # would wait for it until its session ends. Unsubscribing first does tell.
            client.unsubscribe()
            client.poll(POLL_SLICE)
        client.close()


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{each.topic}/{each.partition}" for each in partitions) or "none"


def _within(seconds: float, call: Callable[[], Any]) -> bool:
    """Make a call that may block longer than we can wait; False if it goes on, on a thread that holds up nobody."""
    thread = threading.Thread(target=call, name="penstock-kafka-bounded", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
