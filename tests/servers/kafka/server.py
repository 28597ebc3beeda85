"""The interface of a Kafka server in tests, and a server that runs already."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import wait
from typing import ClassVar

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

USER, PASSWORD = "alice", "alices-secret"

READY_TIMEOUT = 180.0  # seconds for a broker to answer; 3 are usual, and a busy machine took more than 60
ASK_TIMEOUT = 15.0  # seconds for one answer of it

DELETE_TIMEOUT = 10.0  # seconds for the topics of earlier tests to go

OLD_TOPICS = 20
"""How many topics of earlier tests are kept: a broker that starts reads the log of each of their partitions."""


class KafkaServer:
    """A Kafka cluster for tests.

    Attributes:
        bootstrap: Its address, host:port; the same after a restart.
        sasl_bootstrap: Another address of it, which asks for SASL PLAIN without TLS: `USER` and `PASSWORD`; None where
            there is none.
        behind_proxy: The port to which a proxy must pass what it gets, and the port at which that proxy must listen: a
            broker tells clients where to go on, so it knows the proxy's address from the start. None where none is.
        real: A Kafka broker; False for librdkafka's mock, which has no admin API and loses its log with its process.
    """

    real: ClassVar[bool] = True
    bootstrap: str
    sasl_bootstrap: str | None = None
    behind_proxy: tuple[int, int] | None = None

    def __init__(self) -> None:
        self._topics: dict[str, str] = {}  # and the test that made it

    def topic(self, name: str | None = None, partitions: int = 4) -> str:
        """Create a topic and wait until it has its leaders.

        Args:
            name: Exactly this name, which may exist already; None for a new name.
            partitions: How many.

        Returns:
            The topic's name.
        """
        self._delete_old_topics()
        topic = name or f"test-{uuid.uuid4().hex[:12]}"
        admin = self._admin()
        future = admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=30)[topic]
        try:
            future.result(30)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise
        self._wait_for_leaders(admin, topic)
        self._topics[topic] = current_test()
        return topic

    def _delete_old_topics(self) -> None:
        old = [topic for topic, test in self._topics.items() if test != current_test()]
        if len(old) < OLD_TOPICS:
            return
        admin = self._admin()
        # Not every broker that is busy answers; what it does not delete costs only time.
        wait(admin.delete_topics(old, operation_timeout=DELETE_TIMEOUT).values(), DELETE_TIMEOUT)
        for topic in old:
            del self._topics[topic]

    def start(self) -> None:
        """Start after `kill`, on the same log directories and port; returns when it answers."""
        self._not_ours("started")

    def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        self._not_ours("killed")

    def stop(self) -> None:
        """End it in order (SIGTERM)."""
        self._not_ours("stopped")

    def restart(self) -> None:
        """Stop it in order, and start it again."""
        self._not_ours("restarted")

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open, nothing answers."""
        self._not_ours("paused")

    def resume(self) -> None:
        """Undo `pause`."""
        self._not_ours("resumed")

    def close(self) -> None:
        """End it for good."""

    def _not_ours(self, what: str) -> None:
        pytest.skip(f"the Kafka of PENSTOCK_TEST_KAFKA cannot be {what} by a test")

    def _admin(self) -> AdminClient:
        # A client of its own each time: one that saw the broker die would first wait out its reconnect backoff.
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    def _wait_for_leaders(self, admin: AdminClient, topic: str) -> None:
        deadline = time.monotonic() + 30
        while True:
            found = admin.list_topics(topic, timeout=10).topics[topic]
            if found.partitions and all(partition.leader >= 0 for partition in found.partitions.values()):
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"topic {topic} has no leaders after 30 s")
            time.sleep(0.02)


class ExternalServer(KafkaServer):
    """A Kafka that runs already; PENSTOCK_TEST_KAFKA names it."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__()
        self.bootstrap = bootstrap
        wait_until_ready(bootstrap, READY_TIMEOUT)


def current_test() -> str:
    """The test that runs, whatever its phase; empty outside of pytest."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rsplit(" ", 1)[0]


def wait_until_ready(bootstrap: str, timeout: float) -> None:
    """Wait until the cluster answers and its group coordinator works; an open port alone says neither.

    Raises:
        TimeoutError: it did not within `timeout` seconds.
    """
    from confluent_kafka import Consumer

    deadline = time.monotonic() + timeout
    while True:
        client = Consumer({"bootstrap.servers": bootstrap, "group.id": "penstock-tests-ready", "log_level": 0})
        try:
            # The first question about offsets makes the broker create its offsets topic, which takes a second. A client
            # that asked too early may wait for an answer that never comes; the next one gets it.
            client.committed([TopicPartition("penstock-tests-ready", 0)], timeout=ASK_TIMEOUT)
        except KafkaException as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Kafka at {bootstrap} did not answer within {timeout:.0f} s: {error}") from None
            time.sleep(0.05)
        else:
            return
        finally:
            client.close()
