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
from penstock_kafka.message import ClientMessage, all_headers, headers_of
from penstock_kafka.share_options import ShareOptions

log = logging.getLogger("penstock.kafka")

ACCEPT, RELEASE, REJECT = AcknowledgeType.ACCEPT, AcknowledgeType.RELEASE, AcknowledgeType.REJECT
MARGIN = 0.1  # of a lock's time, by which it ends here before it ends at the broker
COMMIT_TIMEOUT = 5.0  # seconds for the broker's answer to acknowledgements

Place = tuple[str, int, int]
"""Topic, partition and offset."""

_error, _key, _value = Message.error, Message.key, Message.value


def position_at(place: Place) -> str:
    """A place as text: "orders/0/42"."""
    topic, partition, offset = place
    return f"{topic}/{partition}/{offset}"


def _place(source: Message) -> Place:
    return source.topic() or "", source.partition() or 0, source.offset() or 0


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
        place: Where it is acknowledged.
    """

    __slots__ = ("member", "place")

    def __init__(
        self,
        source: Message,
        body: bytes | None,
        key: bytes | None,
        headers: Headers,
        member: Member,
        place: Place,
        attempts: int,
    ) -> None:
        # Without the parent's constructor: see `KafkaMessage`.
        self._source = source
        self.message = body
        self.key = key
        self.headers = headers
        self.member = member
        self.place = place
        self.attempts = attempts

    @property
    def position(self) -> str:  # type: ignore[override]
        """Topic, partition and offset: "orders/0/42"."""
        return position_at(self.place)


class Member:
    """A client that is polled only while it holds nothing: before that, all that it has must be acknowledged.

    Args:
        names: Topics.
        options: The queue's.
        where: For messages.
        terms: The group's.

    Attributes:
        held: What is not settled, by its place.
        since: When what it holds was locked, or a little earlier; by `time.monotonic`.
        callbacks: Those of the client.
    """

    def __init__(self, names: Sequence[str], options: ShareOptions, where: str, terms: Terms) -> None:
        self.held: dict[Place, ShareMessage] = {}
        self.since = time.monotonic()
        self.callbacks = ClientCallbacks()
        self._where = where
        self._terms = terms
        self._asked = self.since  # a fetch that an earlier poll has begun may have locked messages since then
        self._turn = threading.Lock()  # the client belongs to one thread at a time
        try:
            self._client = ShareConsumer(self.callbacks.listening(options.client_settings("input")))
            self._client.subscribe(list(names))
        except KafkaException as error:
            raise invalid_settings(error) from None

    def poll(self, timeout: float) -> list[ShareMessage]:
        """Wait for messages. What the client cannot read is released, and rejected at its last delivery."""
        with self._turn:
            try:
                # What is there at once may be locked since an earlier poll, which had asked for it; all else is not.
                since, self._asked = self._asked, time.monotonic()
                found = self._client.poll(0).records()
                if not found and timeout > 0:
                    since, found = self._asked, self._client.poll(timeout).records()
                    self._asked = time.monotonic()
            except KafkaException as error:
                raise connector_error(error.args[0], self._where) from None
            if not found:
                return []
            self.since = since
            if any(map(_error, found)):
                found = self._give_back_unreadable(found)
            places = map(_place, found)
            columns = zip(found, map(_value, found), map(_key, found), all_headers(found), places, strict=True)
            messages = [
                ShareMessage(source, body, key, headers, self, place, source.delivery_count() or 1)
                for source, body, key, headers, place in columns
            ]
            self.held.update((message.place, message) for message in messages)
            return messages

    def _give_back_unreadable(self, found: Sequence[Message]) -> list[Message]:
        """Release what the client cannot read, or reject it at its last delivery; returns the others."""
        readable = []
        for source in found:
            if (problem := source.error()) is None:
                readable.append(source)
                continue
            last = (source.delivery_count() or 1) >= self._terms.limit
            log.error("%s: %s cannot be read, and is %s: %s", self._where, position_at(_place(source)),
                      "rejected for good" if last else "released", describe(problem))  # fmt: skip
            self._client.acknowledge_offset(*_place(source), REJECT if last else RELEASE)
        return readable

    def holds(self, message: ShareMessage) -> bool:
        """Whether this delivery is neither settled nor ended."""
        return self.held.get(message.place) is message

    def settle(self, messages: Sequence[ShareMessage], how: AcknowledgeType) -> int:
        """Acknowledge what is still held, and wait for the broker; returns how many were not settled by that."""
        with self._turn:
            acknowledge, held = self._client.acknowledge_offset, self.held
            places: list[Place] = []
            for message in messages:
                place = message.place
                if held.get(place) is message:
                    del held[place]
                    acknowledge(*place, how)
                    places.append(place)
            late = len(messages) - len(places)
            return late + self._commit(places) if places else late

    def _commit(self, places: Sequence[Place]) -> int:
        try:
            answers = self._client.commit_sync(COMMIT_TIMEOUT)
        except KafkaException as error:
            self._unsettled(len(places), describe(error.args[0]))
            return len(places)
        late = 0
        for partition, problem in answers.items():
            if problem is not None:
                # The client has forgotten these messages, so they cannot be acknowledged again.
                key = (partition.topic, partition.partition)
                count = sum(place[:2] == key for place in places)
                self._unsettled(count, describe(problem.args[0]))
                late += count
        return late

    def _unsettled(self, count: int, why: str) -> None:
        log.warning("%s: %d messages were not settled, and come again: %s", self._where, count, why,
                    extra={"count": count})  # fmt: skip

    def deliver_again(self, message: ShareMessage) -> ShareMessage | None:
        """The next delivery of a message from here, because the broker would drop it; None if it is not held."""
        with self._turn:
            if not self.holds(message):
                return None
            source, place = message.source_as_it_came(), message.place
            again = ShareMessage(
                source, source.value(), source.key(), headers_of(source), self, place, message.attempts + 1
            )
            self.held[place] = again
            return again

    def ended(self) -> list[ShareMessage]:
        """What is still held although its lock ends now."""
        if not self.held or time.monotonic() - self.since < self._terms.lock * (1 - MARGIN):
            return []
        return list(self.held.values())

    def close(self) -> None:
        """Leave the group; the broker releases what is held. A later settlement is late."""
        with self._turn:
            self.held.clear()
            try:
                self._client.close()
            except KafkaException as error:
                log.warning("%s: a member did not leave cleanly: %s", self._where, describe(error.args[0]))
