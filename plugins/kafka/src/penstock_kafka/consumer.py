"""Kafka's topics as an input queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition, libversion

from penstock.connectors import BlockingConsumer
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import BrowsedMessage, QueueMessage
from penstock.offsets import OffsetTracker
from penstock.redelivery import Redelivery
from penstock.timeouts import run_with_timeout
from penstock_kafka.assignment import Assignment, keys_of
from penstock_kafka.browsing import Browser
from penstock_kafka.commits import Commits
from penstock_kafka.connection import check_connection, invalid_settings
from penstock_kafka.damage import ABOUT_DAMAGE, Damage
from penstock_kafka.errors import connector_error, describe
from penstock_kafka.listener import Listener
from penstock_kafka.message import KafkaMessage, Partition
from penstock_kafka.notes import Notes
from penstock_kafka.options import KafkaOptions, topics

log = logging.getLogger("penstock.kafka")

LIBRDKAFKA = 0x020E0000  # 2.14.0
POLL_SLICE = 0.1  # seconds of one wait in the client; what was settled or given back meanwhile is looked at after it
POLL_EVERY = 1.0  # seconds after which the client is polled also if there are messages enough without it
ANSWER_SLICE = 0.02  # seconds of one wait for the answer to the last commit
FULL_BEFORE_PAUSE = 1.0  # seconds without room before a pause, which throws away what was fetched ahead
COMMIT_TIMEOUT = 5.0  # seconds for the last commit
CLOSE_TIMEOUT = 4.0  # seconds to leave the group
LET_GO_AFTER = 30.0  # seconds without an answer, while nothing is assigned, after which a new client is tried

MOST_AT_ONCE = 1_000_000  # messages; the client refuses to be asked for more

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
        self._browser = Browser(name, options)
        self._damage = Damage(self._where)
        self._redelivery = Redelivery[KafkaMessage]()
        self._ready: list[KafkaMessage] = []  # taken from the client, and not asked for yet
        self._settled = threading.Event()
        self._tracker: OffsetTracker[Partition] = OffsetTracker()
        self._notes = Notes(self._where)
        self._commits = Commits(self._tracker, self._notes, options.commit_interval, self._where)
        self._connected: tuple[Client, Assignment] | None = None
        self._subscribed = self._closing = False
        self._failure: ConnectorError | None = None
        self._full_since: float | None = None
        self._unanswered_since: float | None = None
        self._polled = 0.0

    # -- connecting

    def connect(self) -> None:
        """Make the client, check brokers and topics, join the group; after an outage only check."""
        self._let_go_if_stuck()
        if self._connected is None:
            self._connected = self._make_client()
        client, assignment = self._connected
        options = self._options

        def serve() -> None:
            self._poll(client, assignment, 0)

        try:
            self._notes.cluster = check_connection(
                client, serve, self._listener, self._topics, options.brokers, options.connect_timeout
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
                raise connector_error(error.args[0], f"{self._where}: {self.name}") from None
            self._subscribed = True

    def _let_go_if_stuck(self) -> None:
        """Part with a client that gets no answer for long, and that has nothing any more which it could lose.

        The brokers may well be away. But a client was seen that tried no connection any more after they were back.
        """
        now = time.monotonic()
        if self._connected is None or self._unanswered_since is None or self._tracker.ledgers():
            return
        if now - self._unanswered_since < LET_GO_AFTER:
            return
        log.warning("%s: no answer for %.0f s; trying with a new client", self._where, now - self._unanswered_since)
        client, _assignment = self._connected
        self._connected, self._subscribed, self._unanswered_since = None, False, None
        self._commits = Commits(self._tracker, self._notes, self._options.commit_interval, self._where)
        try:
            with suppress(TimeoutError):
                run_with_timeout(client.close, CLOSE_TIMEOUT)
        except KafkaException as error:
            log.warning("%s: the old client did not close cleanly: %s", self._where, describe(error.args[0]))

    def _make_client(self) -> tuple[Client, Assignment]:
        if libversion()[1] < LIBRDKAFKA:
            # A fitting confluent-kafka is required, but one may be built on an older library of the system.
            raise FatalConnectorError(
                f"librdkafka {libversion()[0]} can pass over messages after a pause (its issue 4844); "
                "install confluent-kafka 2.14 or later from its wheel"
            )
        options = self._options
        settings = self._listener.listening(options.client_settings("input")) | {"on_commit": self._commits.answered}
        try:
            client = Client(settings)
        except KafkaException as error:
            raise invalid_settings(error) from None
        alone = len(self._topics) == 1 and not self.name.startswith("^")
        topic = self._topics[0] if alone else None
        return client, Assignment(
            client, self._tracker, options.max_uncommitted, options.cooperative(), topic, self._notes
        )

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
        while True:
            self._tend(client, assignment)
            messages = self._at_hand(client, assignment, max_messages)
            if messages:
                return messages
            assignment.look()
            left = deadline - time.monotonic()
            if left <= 0:
                return messages
            self._raise_failure()
            due = self._redelivery.wait()
            # The client would wait for as many messages as it is asked for: so one is waited for, the rest only taken.
            self._poll(client, assignment, min(POLL_SLICE, left, POLL_SLICE if due is None else due))

    def _at_hand(self, client: Client, assignment: Assignment, most: int) -> list[KafkaMessage]:
        new: list[KafkaMessage] = []
        # The client first, although its messages come last: it may tell of a rebalance, which waits for what is handed
        # out, and forgets what is not. In between, here, there must be nothing.
        if (room := most - self._redelivery.due() - len(self._ready)) > 0:
            assignment.resume()
            new = self._fetch(client, assignment, room)
        elif time.monotonic() - self._polled > POLL_EVERY:
            if self._ready:
                assignment.pause()  # or each such poll would bring one more
            self._poll(client, assignment, 0)
        # What has become due since then must not push the younger of these before the older.
        messages = self._redelivery.take(most - len(new) - (len(self._ready) if new else 0))
        if self._ready:
            room = most - len(new) - len(messages)
            messages += [each for each in self._ready[:room] if each.ours]
            del self._ready[:room]
        return messages + new if messages else new

    def _fetch(self, client: Client, assignment: Assignment, most: int) -> list[KafkaMessage]:
        return self._take(lambda: client.consume(min(most, MOST_AT_ONCE), 0), assignment)

    def _poll(self, client: Client, assignment: Assignment, timeout: float) -> None:
        """Let the client tell what it has to tell. A message is kept: dropped, it would be passed over."""
        found = self._take(lambda: [] if (message := client.poll(timeout)) is None else [message], assignment)
        self._ready += found

    def _take(self, ask: Callable[[], list[Message]], assignment: Assignment) -> list[KafkaMessage]:
        self._polled = time.monotonic()
        try:
            found = ask()
            return self._accept(found, assignment) if found else []
        except KafkaException as error:
            raise self._broken(describe(error.args[0])) from error
        except BaseException as error:
            self._broken(type(error).__name__)
            raise

    def _broken(self, what: str) -> ConnectorError:
        """What the client had in its hand when a callback raised, or a signal came, is gone: nothing may be consumed
        after it, or it would be committed with what follows."""
        self._failure = self._failure or ConnectorError(
            f"{self._where}: while messages were taken from the client there was raised: {what}; some may be gone with "
            "it, so start again, and they come again"
        )
        return self._failure

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
        if topic is not None and partition is not None and offset is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                assignment.at_end((topic, partition), offset)
                return
            if error.code() in ABOUT_DAMAGE:
                self._failure = self._failure or self._damage.heard(error, (topic, partition), offset)
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
                self._poll(client, assignment, max(0.0, min(POLL_SLICE, left)))
            elif left > 0:
                self._settled.wait(left)
            if left <= 0 or self._settled.is_set():
                self._settled.clear()
                return

    def _tend(self, client: Client, assignment: Assignment) -> None:
        """What is due beside messages."""
        if assignment.begun:
            assignment.begun = False
            self._commits.soon()
        self._commits.tend(client)
        assignment.tend()

    def _raise_failure(self) -> None:
        failure = self._failure or self._commits.failure
        if failure is not None:
            raise failure
        if self._listener.fatal is not None:
            raise FatalConnectorError(f"{self._where}: {describe(self._listener.fatal)}")
        if self._listener.down:
            self._listener.down = False  # once an outage: the client reconnects by itself
            raise NotConnected(f"{self._where}: {self._listener.reason('all brokers are down')}")

    # -- settling; on a thread that must never wait for the polling one, so nothing here calls the client

    def on_success(self, messages: Sequence[QueueMessage]) -> int:
        """Mark for commit; the polling thread commits."""
        ours: Sequence[KafkaMessage] = messages  # type: ignore[assignment]
        late = self._redelivery.succeed(ours)
        self._settled.set()
        return late

    def on_fail(self, messages: Sequence[QueueMessage], delay: float | None = None) -> int:
        """Deliver again from memory; the offsets stay open, so a crash delivers again from the broker."""
        ours: Sequence[KafkaMessage] = messages  # type: ignore[assignment]
        late = self._redelivery.requeue(ours, delay or 0.0)
        self._settled.set()
        return late

    def lag(self) -> int | None:
        """Messages of our partitions that were not delivered, and those that wait here to be delivered again."""
        connected = self._connected
        if connected is None:
            return None
        lag = connected[1].lag()
        return None if lag is None else lag + len(self._redelivery) + len(self._ready)

    def browse(self, limit: int, after: str | None = None) -> Sequence[BrowsedMessage]:
        """All that the topics keep, sorted by topic, partition and offset; without a group, and without a commit."""
        return self._browser.browse(limit, after)

    # -- rebalances; called on the polling thread, inside of the client's calls

    def _on_assign(self, assignment: Assignment, _client: Client, partitions: list[TopicPartition]) -> None:
        assignment.assigned(partitions)
        log.info("%s: assigned: %s", self._where, _names(partitions))

    def _on_revoke(self, assignment: Assignment, client: Client, partitions: list[TopicPartition]) -> None:
        keys = keys_of(partitions)
        if self._closing:
            self._commits.send(client, keys)
        else:
            self._await_settlement(keys)
            # Here, not on a thread of its own: while this callback runs, the client lets nobody else in. The group has
            # just been heard of, so the wait is short.
            self._commits.send_and_wait(client, keys)
        assignment.ended(keys, lost=False)
        log.info("%s: revoked: %s", self._where, _names(partitions))

    def _on_lost(self, assignment: Assignment, _client: Client, partitions: list[TopicPartition]) -> None:
        # Somebody else may own them already: nothing is committed, what is open comes again there.
        keys = keys_of(partitions)
        self._forget_waiting(keys)
        assignment.ended(keys, lost=True)
        log.warning("%s: lost: %s", self._where, _names(partitions))

    def _await_settlement(self, keys: Sequence[Partition]) -> None:
        """Give messages under way the time to be settled; what was given back, or never handed out, will not be."""
        ledgers = [ledger for key in keys if (ledger := self._tracker.ledger(key)) is not None]
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
        gone = [each for each in self._ready if each.ledger.partition in keys]
        self._ready = [each for each in self._ready if each.ledger.partition not in keys]
        return sum(each.ours for each in gone) + self._redelivery.forget(keys)

    # -- ending

    def shutdown(self) -> None:
        """Commit what is safe, leave the group. What is open is delivered again, to whom the partitions go."""
        self._browser.close()
        if self._connected is None:
            return
        client, assignment = self._connected
        self._closing = True
        try:
            run_with_timeout(lambda: self._end(client, assignment), COMMIT_TIMEOUT + CLOSE_TIMEOUT)
        except TimeoutError:
            log.warning("%s: the group was not left in time; it notices by itself", self._where)
        except KafkaException as error:
            raise connector_error(error.args[0], f"{self._where}: closing") from None
        finally:
            # Nothing that is settled from now on is ours any more, also if the client could not be asked to leave.
            assignment.ended([ledger.partition for ledger in self._tracker.ledgers()], lost=True)
            self._connected = None

    def _end(self, client: Client, assignment: Assignment) -> None:
        try:
            # Polled for the answer to the last commit, the client would go on bringing messages.
            assignment.pause()
            deadline = time.monotonic() + COMMIT_TIMEOUT
            self._commits.finish(client, lambda: self._poll(client, assignment, ANSWER_SLICE), deadline)
            if self._commits.behind():
                log.warning("%s: the last commit was not confirmed in time; its messages come again", self._where)
            if self._subscribed and not self._tracker.ledgers():
                # librdkafka 2.16 does not tell the group when a cooperative member without partitions closes: all
                # others would wait for it until its session ends. Unsubscribing first does tell.
                client.unsubscribe()
                client.poll(POLL_SLICE)
        finally:
            client.close()


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(f"{each.topic}/{each.partition}" for each in partitions) or "none"
