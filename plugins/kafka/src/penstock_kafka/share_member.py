"""One client of a share group, and the messages that it holds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import AcknowledgeType, KafkaException, Message, ShareConsumer

from penstock.message import Headers
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.connection import invalid_settings
from penstock_kafka.errors import connector_error, describe
from penstock_kafka.message import ClientMessage, all_headers, headers_of, position_of
from penstock_kafka.share_arrivals import Arrivals
from penstock_kafka.share_options import ShareOptions

log = logging.getLogger("penstock.kafka")

ACCEPT, RELEASE, REJECT = AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT
MARGIN = 0.1  # of a lock's time, by which it ends here before it ends at the broker
GIVES_WAY_AFTER = 5.0  # seconds without a poll, because a member holds messages, before others get its partitions
POLL_WAIT = 0.1  # seconds of one poll: for so long messages may still be taken when `consume` has returned
COMMIT_TIMEOUT = 5.0  # seconds for the broker's answer to acknowledgements
MISSING = object()

_error, _key, _value, _deliveries = Message.error, Message.key, Message.value, Message.delivery_count


class Terms(NamedTuple):
    """What the brokers say of the group.

    Attributes:
        lock: For how many seconds a message belongs to a member.
        limit: How often it is delivered at most; then the brokers drop it from the group.
    """

    lock: float
    limit: int


class ShareMessage(ClientMessage):
    """One delivery of one Kafka message.

    Attributes:
        member: Who has its lock.
    """

    __slots__ = ("member",)

    def __init__(
        self,
        source: Message,
        body: bytes | None,
        key: bytes | None,
        headers: Headers,
        member: Member,
        attempts: int,
    ) -> None:
        # Without the parent's constructor: see `KafkaMessage`.
        self._source = source
        self.message = body
        self.key = key
        self.headers = headers
        self.member = member
        self.attempts = attempts

    @property
    def source(self) -> Message:
        """The client's message, by which it is acknowledged."""
        return self._source

    @property
    def position(self) -> str:  # type: ignore[override]
        """Topic, partition and offset: "orders/0/42"."""
        return position_of(self._source)


class Member:
    """A client that is polled only while it holds nothing: before that, all that it has must be acknowledged.

    Brokers do not know that it is not polled, and may have given a partition to such members only. So one that holds
    messages for long is not subscribed meanwhile; it keeps the locks of the messages, and can settle them.

    Args:
        names: Topics.
        options: The queue's.
        where: For messages.
        terms: The group's.
        arrivals: Where its thread puts what it takes.

    Attributes:
        held: What is not settled; the values mean nothing.
        kept: What is not settled, and the brokers deliver no more: its lock ended at the last delivery.
        since: When what it holds was locked, or a little earlier; by `time.monotonic`.
        polled: How many messages the last poll that found any has brought.
        callbacks: Those of the client.
        closed: Whether `close` was called.
    """

    def __init__(
        self, names: Sequence[str], options: ShareOptions, where: str, terms: Terms, arrivals: Arrivals
    ) -> None:
        self.held: dict[ShareMessage, None] = {}
        self.kept: dict[ShareMessage, None] = {}
        self.since = time.monotonic()
        self.polled = 0
        self.callbacks = ClientCallbacks()
        self.closed = False
        self._names = list(names)
        self._subscribed = False
        self._where = where
        self._terms = terms
        self._arrivals = arrivals
        self._asked = self.since  # a fetch that an earlier poll has begun may have locked messages since then
        self._turn = threading.Lock()  # the client belongs to one thread at a time
        try:
            self._client = ShareConsumer(self.callbacks.listening(options.client_settings("input")))
            self._subscribe()
        except KafkaException as error:
            raise invalid_settings(error) from None
        threading.Thread(target=self._work, name="penstock-share-member", daemon=True).start()

    def _subscribe(self) -> None:
        self._client.subscribe(self._names)
        self._subscribed = True

    def _work(self) -> None:
        while self._arrivals.wait_for_turn(self):
            try:
                self._poll()
            except Exception as error:  # noqa: BLE001  (`consume` raises it)
                self._arrivals.fail(error)

    def _poll(self) -> None:
        """Wait for messages, and give them to `consume`.

        What the client cannot read is released, and rejected at its last delivery.
        """
        with self._turn:
            if self.closed:
                return
            try:
                if not self._subscribed:
                    self._subscribe()
                # What is there at once may be locked since an earlier poll, which had asked for it; all else is not.
                since, self._asked = self._asked, time.monotonic()
                found = self._client.poll(0).records()
                if not found:
                    since, found = self._asked, self._client.poll(POLL_WAIT).records()
                    self._asked = time.monotonic()
            except KafkaException as error:
                raise connector_error(error.args[0], self._where) from None
            if not found or self.closed:
                return
            self.since = since
            if any(map(_error, found)):
                found = self._give_back_unreadable(found)
            self.polled = len(found)
            columns = zip(
                found, map(_value, found), map(_key, found), all_headers(found), map(_deliveries, found), strict=True
            )
            messages = [
                ShareMessage(source, body, key, headers, self, attempts or 1)
                for source, body, key, headers, attempts in columns
            ]
            self.held = dict.fromkeys(messages)
            self._arrivals.add(messages)

    def give_way(self) -> None:
        """Let other members have its partitions if it was not polled for long; its next poll subscribes again."""
        if not self._subscribed or time.monotonic() - self._asked < GIVES_WAY_AFTER:
            return
        if not self._turn.acquire(blocking=False):
            return  # it is polled now, or a settlement waits for a broker
        try:
            if not self.closed:
                self._client.unsubscribe()
                self._subscribed = False
        except KafkaException as error:
            raise connector_error(error.args[0], self._where) from None
        finally:
            self._turn.release()

    def _give_back_unreadable(self, found: Sequence[Message]) -> list[Message]:
        """Release what the client cannot read, or reject it at its last delivery; returns the others."""
        readable = []
        for source in found:
            if (problem := source.error()) is None:
                readable.append(source)
                continue
            last = (source.delivery_count() or 1) >= self._terms.limit
            log.error("%s: %s cannot be read, and is %s: %s", self._where, position_of(source),
                      "rejected for good" if last else "released", describe(problem))  # fmt: skip
            self._client.acknowledge(source, REJECT if last else RELEASE)
        return readable

    def settle(self, messages: Sequence[ShareMessage], how: AcknowledgeType) -> int:
        """Acknowledge what is still held, and wait for the broker; returns how many were not settled by that."""
        late = 0
        if not self.held.keys().isdisjoint(messages):  # else it may be polled, and a turn would not come soon
            with self._turn:
                settled = [message for message in messages if message in self.held]
                late += self._acknowledge(settled, how) if settled else 0
            self._arrivals.turn()
            if len(settled) == len(messages):
                return late
            messages = list(set(messages).difference(settled))
        return late + sum(self.kept.pop(message, MISSING) is MISSING for message in messages)

    def _acknowledge(self, messages: Sequence[ShareMessage], how: AcknowledgeType) -> int:
        acknowledge, held = self._client.acknowledge, self.held
        for message in messages:
            del held[message]
            acknowledge(message.source, how)
        return self._commit(messages)

    def _commit(self, settled: Sequence[ShareMessage]) -> int:
        try:
            answers = self._client.commit_sync(COMMIT_TIMEOUT)
        except KafkaException as error:
            self._unsettled(len(settled), describe(error.args[0]))
            return len(settled)
        late = 0
        for partition, problem in answers.items():
            if problem is not None:
                # The client has forgotten these messages, so they cannot be acknowledged again.
                key = (partition.topic, partition.partition)
                count = sum((each.source.topic(), each.source.partition()) == key for each in settled)
                self._unsettled(count, describe(problem.args[0]))
                late += count
        return late

    def _unsettled(self, count: int, why: str) -> None:
        log.warning("%s: %d messages were not settled, and come again: %s", self._where, count, why,
                    extra={"count": count})  # fmt: skip

    def deliver_again(self, message: ShareMessage) -> bool:
        """Let a message arrive again from here, because the broker would drop it; False if it is not ours any more."""
        if message in self.held:
            with self._turn:
                if message in self.held:
                    self._arrive_again(message, self.held)
                    return True
        if message in self.kept:
            self._arrive_again(message, self.kept)
            return True
        return False

    def _arrive_again(self, message: ShareMessage, ours: dict[ShareMessage, None]) -> None:
        source = message.source_as_it_came()
        again = ShareMessage(source, source.value(), source.key(), headers_of(source), self, message.attempts + 1)
        ours[again] = None
        ours.pop(message, None)
        self._arrivals.add([again])

    def release_ended(self) -> tuple[Sequence[ShareMessage], Sequence[ShareMessage]]:
        """Release what is still held although its lock ends now.

        Returns:
            What the brokers deliver again; and what they do not, because this was the last time: that is kept.
        """
        if not self.held or time.monotonic() - self.since < self._terms.lock * (1 - MARGIN):
            return [], []
        with self._turn:
            again: list[ShareMessage] = []
            last: list[ShareMessage] = []
            for message in self.held:
                (last if message.attempts >= self._terms.limit else again).append(message)
            self.kept.update(dict.fromkeys(last))  # before it leaves `held`: a settlement finds it in one of them
            self._acknowledge([*again, *last], RELEASE)
        self._arrivals.turn()
        return again, last

    def close(self) -> None:
        """Leave the group; the broker releases what is held. A later settlement is late."""
        self.closed = True
        self._arrivals.turn()
        with self._turn:
            self.held.clear()
            self.kept.clear()
            try:
                self._client.close()
            except KafkaException as error:
                log.warning("%s: a member did not leave cleanly: %s", self._where, describe(error.args[0]))
