"""What a client says about its connections, beside the answers to our calls."""

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

SELDOM = 30.0  # seconds between two log lines about a connection that fails again and again

WATCHING = ("stats_cb", "throttle_cb")
"""Callbacks of the user whose result nobody waits for."""

_THREAD = re.compile(r"^\[thrd:[^]]*\]+: ")


class Listener:
    """The `error_cb` and the `logger` of one client; called on the thread that polls it.

    Attributes:
        fatal: The first error that will not go away.
        down: All brokers are away, and nobody has been told yet.
    """

    def __init__(self) -> None:
        self.fatal: KafkaError | None = None
        self.down = False
        self._last = ""
        self._said = -SELDOM

    def listening(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of a client, with this listener in them.

        Callbacks of the user that only watch are kept from raising: out of a poll, an error takes messages with it.
        """
        watching = {name: partial(_undisturbed, name, settings[name]) for name in WATCHING if name in settings}
        return {**settings, **watching, "error_cb": self.error, "logger": self}

    def error(self, error: KafkaError) -> None:
        """Hear of an error that belongs to no call."""
        if kind_of(error) is Kind.FATAL:
            self.fatal = self.fatal or error
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.down = True
        else:
            self._last = describe(error)

    def log(self, level: int, text: str, facility: str, client: str, message: str) -> None:
        """Hear what the client would write on standard error, and pass it on to Python's logger."""
        if facility == "FAIL":
            # Not every failed connection is reported as an error: one that a broker closes is only logged.
            self._last = _THREAD.sub("", message)
            now = time.monotonic()
            if now - self._said < SELDOM:
                return  # it says so ten times a second
            self._said = now
        log.log(level, text, facility, client, message)

    def reset(self) -> None:
        """Forget: the brokers answer."""
        self.down = False
        self._last = ""

    def reason(self, otherwise: str) -> str:
        """The last that was heard, which says more than "all brokers are down"."""
        return self._last or otherwise


def _undisturbed(name: str, callback: Callable[[Any], object], heard: Any) -> None:
    try:
        callback(heard)
    except Exception:
        log.exception("%r raised; the client goes on", name)
