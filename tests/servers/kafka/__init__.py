"""Kafka for tests: fixtures `kafka` (a broker, or librdkafka's mock) and `real_kafka` (a broker, or a skipped test).

Looked for in this order: the cluster of PENSTOCK_TEST_KAFKA (bootstrap servers); a broker of our own from its jars,
where `java` and `mvn` exist; librdkafka's mock cluster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.servers.kafka import jars
from tests.servers.requirement import missing, required

if TYPE_CHECKING:
    from tests.servers.kafka.server import KafkaServer

ADDRESS = "PENSTOCK_TEST_KAFKA"
FIXTURES = {"kafka", "real_kafka"}

_why_no_broker = ""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch the jars before the first test: a download on a new machine may take longer than a test may."""
    if session.config.getoption("collectonly") or os.environ.get(ADDRESS) or find_spec("confluent_kafka") is None:
        return
    if any(FIXTURES & set(getattr(item, "fixturenames", ())) for item in session.items):
        try:
            from tests.servers.kafka.classes import keep_ready

            keep_ready(jars.fetch())
        except jars.BrokerUnavailableError as error:
            # Told by the fixture, to each test that needs it. Not fetched twice: the failure may have taken long.
            global _why_no_broker
            _why_no_broker = str(error)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A Kafka cluster for the whole session; a test that kills or pauses it brings it back."""
    if find_spec("confluent_kafka") is None:
        missing("kafka", "confluent-kafka is not installed")
    server = _find()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def real_kafka(kafka: KafkaServer) -> KafkaServer:
    """The cluster, if it is a real one: the mock has no log that outlives it, and no admin API."""
    if not kafka.real:
        missing("kafka", _why_no_broker)
    return kafka


def _find() -> KafkaServer:
    global _why_no_broker
    if os.environ.get(ADDRESS):
        from tests.servers.kafka.server import ExternalServer

        return ExternalServer(os.environ[ADDRESS])
    try:
        if _why_no_broker:
            raise jars.BrokerUnavailableError(_why_no_broker)
        from tests.servers.kafka.broker import Broker

        return Broker(jars.fetch())
    except jars.BrokerUnavailableError as error:
        _why_no_broker = str(error)
    if required("kafka"):
        missing("kafka", _why_no_broker)
    from tests.servers.kafka.mock import MockCluster

    return MockCluster()
