"""Takes messages out of the client, and keeps what went wrong with that until it is raised."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Message

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_kafka.assignment import Assignment
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.corruption import CORRUPTION_CODES, CorruptionTracker
from penstock_kafka.errors import connector_error, describe
from penstock_kafka.message import KafkaMessage, Partition

if TYPE_CHECKING:
    from confluent_kafka import Consumer as Client

log = logging.getLogger("penstock.kafka")

MOST_AT_ONCE = 1_000_000  # messages; the client rejects a larger number

_error = Message.error


class ClientReader:
    """Used on the polling thread, except `len(ready)`.

    Args:
        name: The queue's, for errors that belong to no topic.
        where: For messages.

    Attributes:
        callbacks: Those of the client.
        ready: Taken from the client by `poll`, and not returned by `consume` yet.
        polled: When the client was last called, by `time.monotonic`.
    """

    def __init__(self, name: str, where: str) -> None:
        self.callbacks = ClientCallbacks()
        self.ready: list[KafkaMessage] = []
        self.polled = 0.0
        self._name = name
        self._where = where
        self._corruption = CorruptionTracker(where)
        self._failure: ConnectorError | None = None

    def read(self, client: Client, assignment: Assignment, most: int) -> Sequence[KafkaMessage]:
        """Messages that the client has, without waiting."""
        return self._take(lambda: client.consume(min(most, MOST_AT_ONCE), 0), assignment)

    def poll(self, client: Client, assignment: Assignment, timeout: float) -> None:
        """Let the client run its callbacks. A message is kept, because the client would not return it again."""
        found = self._take(lambda: [] if (message := client.poll(timeout)) is None else [message], assignment)
        self.ready += found  # in its own line: a rebalance during the poll replaces the list

    def take_ready(self, most: int) -> list[KafkaMessage]:
        """Messages that `poll` has kept."""
        found = [each for each in self.ready[:most] if each.still_assigned]
        del self.ready[:most]
        return found

    def forget(self, keys: Collection[Partition]) -> int:
        """Drop the kept messages of these partitions; returns how many of them were still ours."""
        gone = [each for each in self.ready if each.ledger.partition in keys]
        self.ready = [each for each in self.ready if each.ledger.partition not in keys]
        return sum(each.still_assigned for each in gone)

    def raise_failure(self, commit_failure: ConnectorError | None) -> None:
        """Raise what ends consuming: the first failure here, else that of a commit, else what the client reported."""
        failure = self._failure or commit_failure
        if failure is not None:
            raise failure
        if self.callbacks.fatal is not None:
            raise FatalConnectorError(f"{self._where}: {describe(self.callbacks.fatal)}")
        if self.callbacks.down:
            self.callbacks.down = False  # raised once for each outage, because the client reconnects by itself
            raise NotConnected(f"{self._where}: {self.callbacks.reason('all brokers are down')}")

    def _take(self, ask: Callable[[], list[Message]], assignment: Assignment) -> Sequence[KafkaMessage]:
        self.polled = time.monotonic()
        try:
            found = ask()
            return self._accept(found, assignment) if found else []
        except KafkaException as error:
            raise self._broken(describe(error.args[0])) from error
        except BaseException as error:
            self._broken(type(error).__name__)
            raise

    def _broken(self, what: str) -> ConnectorError:
        """Stop consuming: messages that the client held when a callback raised, or a signal came, are gone. They would
        be committed with those that follow."""
        self._failure = self._failure or ConnectorError(
            f"{self._where}: while messages were taken from the client, it raised {what}; some may be lost with that; "
            "start again, and they are delivered again"
        )
        return self._failure

    def _accept(self, found: list[Message], assignment: Assignment) -> Sequence[KafkaMessage]:
        """Handle what is not a message; register the rest as open."""
        if any(map(_error, found)):
            for each in found:
                error = each.error()
                if error is not None:
                    self._handle_error(each, error, assignment)
            found = [each for each in found if each.error() is None]
        return assignment.take(found) if found else []

    def _handle_error(self, message: Message, error: KafkaError, assignment: Assignment) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if topic is not None and partition is not None and offset is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                assignment.at_end((topic, partition), offset)
                return
            if error.code() in CORRUPTION_CODES:
                self._failure = self._failure or self._corruption.seen(error, (topic, partition), offset)
                return
        problem = connector_error(error, f"{self._where}: {topic or self._name}")
        if isinstance(problem, NotConnected):
            log.warning("%s", problem)  # the client tries again by itself
        else:
            self._failure = self._failure or problem
