"""Whether the brokers answer, have our topics and accept us; shared by consumer and producer."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from penstock.errors import ConfigError, FatalConnectorError, NotConnected
from penstock_kafka.errors import Kind, connector_error, describe, kind_of

log = logging.getLogger("penstock_kafka")
client_log = logging.getLogger("penstock_kafka.client")

SELDOM = 30.0  # seconds between two log lines about a connection that fails again and again

ASK_TIMEOUT = 1.0  # seconds of one question for metadata; between two, the client's own errors are looked at
ASK_AGAIN = 0.1  # seconds between two questions: a broker that refuses at once must not make a hot loop


class _Seldom(logging.Filter):
    """Lets a client say now and then, not ten times a second, that a connection fails; errors tell of it anyway."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        facility, *client = record.args if isinstance(record.args, tuple) else ("",)
        if facility != "FAIL":
            return True
        now, about = time.monotonic(), str(client[:1])
        if now - self._said.get(about, -SELDOM) < SELDOM:
            return False
        self._said = {key: at for key, at in self._said.items() if now - at < SELDOM} | {about: now}
        return True


client_log.addFilter(_Seldom())


class Client(Protocol):
    """What consumer and producer of confluent-kafka have in common."""

    def list_topics(self, topic: str = ..., timeout: float = ...) -> Any:
        """Ask the brokers what there is."""


class ErrorListener:
    """Keeps what the client says about its connections; its `error_cb`, called on the thread that polls."""

    def __init__(self) -> None:
        self._recent: deque[KafkaError] = deque(maxlen=10)
        self.fatal: KafkaError | None = None
        self.down = False

    def __call__(self, error: KafkaError) -> None:
        if kind_of(error) is Kind.FATAL:
            self.fatal = self.fatal or error
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.down = True
        else:
            self._recent.append(error)

    def reset(self) -> None:
        """Forget: the brokers answer."""
        self.down = False
        self._recent.clear()

    def reason(self, otherwise: str) -> str:
        """The last that was heard, which says more than "all brokers are down"."""
        return describe(self._recent[-1]) if self._recent else otherwise


def invalid_settings(error: KafkaException) -> ConfigError:
    """The client refuses to be made."""
    return ConfigError(f"the Kafka client refuses the options: {error.args[0].str()}")


def check_connection(
    client: Client,
    serve: Callable[[], object],
    listener: ErrorListener,
    names: Sequence[str],
    brokers: str,
    timeout: float,
) -> None:
    """Ask the brokers about topics; a name that begins with `^` stands for none in particular.

    Args:
        client: Whom to ask.
        serve: Polls the client once without waiting, so that its errors reach the listener.
        listener: The client's.
        names: Topics.
        brokers: For messages.
        timeout: Seconds.

    Raises:
        NotConnected: nobody answered in time.
        FatalConnectorError: we are not accepted.
        ConnectorError: a topic does not exist.
    """
    where = f"Kafka at {brokers}"
    deadline = time.monotonic() + timeout
    plain = [name for name in names if not name.startswith("^")]
    for name in plain or [""]:
        _ask(client, serve, listener, name, where, deadline)
    listener.reset()


def _ask(
    client: Client,
    serve: Callable[[], object],
    listener: ErrorListener,
    name: str,
    where: str,
    deadline: float,
) -> None:
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
            return
        problem = connector_error(error, place)
        if not isinstance(problem, NotConnected):
            raise problem
        if left <= 0:
            raise NotConnected(f"{where}: no answer: {listener.reason(describe(error))}")
        time.sleep(min(ASK_AGAIN, left))
