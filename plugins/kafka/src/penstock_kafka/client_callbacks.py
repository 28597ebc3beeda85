"""The callbacks of a client, by which it reports on its connections."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError

from penstock.known_secrets import SecretFilter
from penstock_kafka.errors import Kind, describe, kind_of

log = logging.getLogger("penstock.kafka.client")
log.addFilter(SecretFilter())  # the client may quote its options

LOG_INTERVAL = 30.0  # seconds between two log lines about a connection that fails again and again

WATCHING = ("stats_cb", "throttle_cb")
"""The user's callbacks that have no result."""

_THREAD = re.compile(r"^\[thrd:[^]]*\]+: ")


class ClientCallbacks:
    """The `error_cb` and the `logger` of one client; called on the thread that polls it.

    Attributes:
        fatal: The first error that will not go away.
        down: All brokers are away, which was not reported yet.
    """

    def __init__(self) -> None:
        self.fatal: KafkaError | None = None
        self.down = False
        self._last = ""
        self._logged = -LOG_INTERVAL

    def listening(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Add the callbacks to the settings of a client.

        Errors of the user's callbacks are caught, because an error during a poll would lose messages.
        """
        watching = {name: partial(_catching, name, settings[name]) for name in WATCHING if name in settings}
        return {**settings, **watching, "error_cb": self.error, "logger": self}

    def error(self, error: KafkaError) -> None:
        """Receive an error that does not belong to a call."""
        if kind_of(error) is Kind.FATAL:
            self.fatal = self.fatal or error
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.down = True
        else:
            self._last = describe(error)

    def log(self, level: int, text: str, facility: str, client: str, message: str) -> None:
        """Receive what the client would write on standard error, and pass it to Python's logger."""
        if facility == "FAIL":
            # A connection that a broker closes is only logged, not reported as an error.
            self._last = _THREAD.sub("", message)
            now = time.monotonic()
            if now - self._logged < LOG_INTERVAL:
                return  # it comes ten times a second
            self._logged, level = now, logging.DEBUG  # what it means for a queue is said by the connector
        if facility == "SHARECONSUMER":
            level = logging.DEBUG  # that share groups are a preview: each client says so, and the manual once
        log.log(level, text, facility, client, message)

    def reset(self) -> None:
        """The brokers answer: forget earlier errors."""
        self.down = False
        self._last = ""

    def reason(self, otherwise: str) -> str:
        """The last reported reason, which says more than "all brokers are down"; else `otherwise`."""
        return self._last or otherwise


def _catching(name: str, callback: Callable[[Any], object], report: Any) -> None:
    try:
        callback(report)
    except Exception:
        log.exception("%r raised; the client goes on", name)
