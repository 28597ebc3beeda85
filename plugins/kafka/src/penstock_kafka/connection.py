"""Checks that the brokers answer, have the topics and accept us."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaException

from penstock.errors import ConfigError, FatalConnectorError, NotConnected
from penstock_kafka.client_callbacks import ClientCallbacks
from penstock_kafka.errors import connector_error, describe

ASK_TIMEOUT = 1.0  # seconds of one request for metadata; between two, the client's own errors are checked
ASK_AGAIN = 0.1  # seconds between two requests, so that a broker that rejects at once causes no hot loop
ID_TIMEOUT = 1.0  # seconds that brokers are asked for the id of their cluster; old ones have none


class Client(Protocol):
    """What consumers and producers of confluent-kafka have in common."""

    def list_topics(self, topic: str = ..., timeout: float = ...) -> Any:
        """Ask the brokers for their topics."""


def invalid_settings(error: KafkaException) -> ConfigError:
    """The error for settings that the client rejects."""
    return ConfigError(f"the Kafka client rejects the options: {error.args[0].str()}")


def check_connection(
    client: Client,
    serve: Callable[[], object],
    callbacks: ClientCallbacks,
    names: Sequence[str],
    brokers: str,
    timeout: float,
) -> str | None:
    """Ask the brokers about topics. A name that begins with `^` is not a particular topic.

    Args:
        client: Asks the brokers.
        serve: Polls the client once without waiting, so that its errors reach the callbacks.
        callbacks: The client's.
        names: Topics.
        brokers: For messages.
        timeout: Seconds.

    Returns:
        The cluster's id, if the brokers report it.

    Raises:
        NotConnected: no broker answered in time.
        FatalConnectorError: the brokers reject us.
        ConnectorError: a topic does not exist.
    """
    where = f"Kafka at {brokers}"
    deadline = time.monotonic() + timeout
    plain = [name for name in names if not name.startswith("^")]
    clusters = [_ask(client, serve, callbacks, name, where, deadline) for name in plain or [""]]
    callbacks.reset()
    return clusters[0]


def _ask(
    client: Client,
    serve: Callable[[], object],
    callbacks: ClientCallbacks,
    name: str,
    where: str,
    deadline: float,
) -> str | None:
    place = f"{where}: topic {name!r}" if name else where
    about = {"topic": name} if name else {}
    no_id_after = time.monotonic() + ID_TIMEOUT
    while True:
        left = deadline - time.monotonic()
        try:
            found = client.list_topics(timeout=max(0.05, min(ASK_TIMEOUT, left)), **about)
            error = found.topics[name].error if name else None
        except KafkaException as raised:
            error = raised.args[0]
        serve()
        if callbacks.fatal is not None:
            raise FatalConnectorError(f"{where}: {describe(callbacks.fatal)}")
        if error is None:
            cluster: str | None = found.cluster_id
            if cluster is not None or time.monotonic() > min(no_id_after, deadline):
                return cluster
            time.sleep(ASK_AGAIN)  # a client knows it only after its first answers
            continue
        problem = connector_error(error, place)
        if not isinstance(problem, NotConnected):
            raise problem
        if left <= 0:
            raise NotConnected(f"{where}: no answer: {callbacks.reason(describe(error))}")
        time.sleep(min(ASK_AGAIN, left))
