"""The connector `kafka` keeps every promise, on a real broker."""

from __future__ import annotations

import socket
import time
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaException
from tests.servers.kafka.server import KafkaServer, wait_until_ready

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance

# As the test broker allows; a worker that is killed or hung is out of the group after that.
SESSION: dict[str, Any] = {"session.timeout.ms": 2_000, "heartbeat.interval.ms": 500}
COMMITS = 0.2  # seconds between two commits
LARGEST = 1_048_588  # bytes of a record batch; the broker's default, which is the client's for this queue


class KafkaBackend(BackendFixture):
    """Topics of four partitions on the test broker."""

    timeout = 20.0
    idle_timeout = 0.5
    frozen_after = 4.0
    # A worker of the kit does a message in a millisecond.
    settled_late = int(COMMITS * 1_000) + 100
    cannot: ClassVar = {"lease": "Kafka has no leases: a partition is a consumer's as long as it is in the group"}

    def __init__(self, server: KafkaServer) -> None:
        self._server = server

    def create(self, queue: str) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                self._server.topic(queue, partitions=4)
            except KafkaException as error:
                # On a busy machine the broker may be fenced by its own controller for a moment.
                if error.args[0].name() != "INVALID_REPLICATION_FACTOR" or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        options = {
            "bootstrap.servers": self._server.bootstrap,
            "group.id": f"{queue}-{group or 'main'}",
            "commit_interval": COMMITS,
            "connect_timeout": 5.0,
            "consumer": {**SESSION, "reconnect.backoff.max.ms": 500},
            "producer": {"message.max.bytes": LARGEST, "reconnect.backoff.max.ms": 500},
        }
        return {"connector": "kafka", "value": queue, "config": {**options, **over}}

    def restart_backend(self) -> None:
        self._server.restart()

    def stop_backend(self) -> None:
        self._server.kill()

    def start_backend(self) -> None:
        self._server.start()

    def pause_backend(self) -> None:
        self._server.pause()

    def resume_backend(self) -> None:
        self._server.resume()
        wait_until_ready(self._server.bootstrap, self.timeout)

    def nowhere(self, queue: str) -> dict[str, Any]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        return self.config(queue, **{"bootstrap.servers": f"127.0.0.1:{port}", "connect_timeout": 2.0})

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(2 * LARGEST))


class TestKafka(ConnectorConformance):
    """A broker of its own, or the one of PENSTOCK_TEST_KAFKA."""

    connector = "kafka"

    @pytest.fixture
    def backend(self, real_kafka: KafkaServer) -> BackendFixture:
        return KafkaBackend(real_kafka)
