"""Whether the brokers answer, have our topics and accept us; shared by consumer and producer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaException

from penstock.errors import ConfigError, FatalConnectorError, NotConnected
from penstock_kafka.errors import connector_error, describe
from penstock_kafka.listener import Listener

ASK_TIMEOUT = 1.0  # seconds of one question for metadata; between two, the client's own errors are looked at
ASK_AGAIN = 0.1  # seconds between two questions: a broker that refuses at once must not make a hot loop


class Client(Protocol):
    """What consumer and producer of confluent-kafka have in common."""

    def list_topics(self, topic: str = ..., timeout: float = ...) -> Any:
        """Ask the brokers what there is."""


def invalid_settings(error: KafkaException) -> ConfigError:
    """The client refuses to be made."""
    return ConfigError(f"the Kafka client refuses the options: {error.args[0].str()}")


def check_connection(
    client: Client,
    serve: Callable[[], object],
    listener: Listener,
    names: Sequence[str],
    brokers: str,
    timeout: float,
) -> str | None:
    """Ask the brokers about topics; a name that begins with `^` stands for none in particular.

    Args:
        client: Whom to ask.
        serve: Polls the client once without waiting, so that its errors reach the listener.
        listener: The client's.
        names: Topics.
        brokers: For messages.
        timeout: Seconds.

    Returns:
        The cluster's id, if they have told it.

    Raises:
        NotConnected: nobody answered in time.
        FatalConnectorError: we are not accepted.
        ConnectorError: a topic does not exist.
    """
    where = f"Kafka at {brokers}"
    deadline = time.monotonic() + timeout
    plain = [name for name in names if not name.startswith("^")]
    clusters = [_ask(client, serve, listener, name, where, deadline) for name in plain or [""]]
    listener.reset()
    return clusters[0]


def _ask(
    client: Client,
    serve: Callable[[], object],
    listener: Listener,
    name: str,
    where: str,
    deadline: float,
) -> str | None:
    place = f"{where}: topic {name!r}" if name else where
    about = {"topic": name} if name else {}
    while True:
        left = deadline - time.monotonic()
        try:
            found = client.list_topics(timeout=max(0.05, min(ASK_TIMEOUT, left)), **about)
            error = found.topics[name].error if name else None
        except KafkaException as raised:
            error = raised.args[0]
        serve()
        if listener.fatal is not None:
            raise FatalConnectorError(f"{where}: {describe(listener.fatal)}")
        if error is None:
            cluster: str | None = found.cluster_id
            return cluster
        problem = connector_error(error, place)
        if not isinstance(problem, NotConnected):
            raise problem
        if left <= 0:
            raise NotConnected(f"{where}: no answer: {listener.reason(describe(error))}")
        time.sleep(min(ASK_AGAIN, left))
