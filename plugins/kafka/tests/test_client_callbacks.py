"""What a client says beside the answers to our calls."""

from __future__ import annotations

import logging
from typing import Any

from confluent_kafka import KafkaError

from penstock_kafka.client_callbacks import ClientCallbacks

FORMAT = "%s [%s] %s"


def test_a_connection_that_fails_again_and_again_is_logged_seldom(caplog: Any) -> None:
    """The client repeats itself ten times a second; everything else that it logs is passed on."""
    listener = ClientCallbacks()

    with caplog.at_level(logging.DEBUG, logger="penstock.kafka.client"):
        for _ in range(50):
            listener.log(logging.ERROR, FORMAT, "FAIL", "penstock#1", "[thrd:a]: a: Connect failed")
            listener.log(logging.INFO, FORMAT, "REQTMOUT", "penstock#1", "[thrd:a]: timed out")

    assert caplog.text.count("Connect failed") == 1
    assert caplog.text.count("timed out") == 50


def test_the_last_that_was_heard_is_the_reason() -> None:
    """Be it an error or only a log line; without the client's own thread names."""
    listener = ClientCallbacks()
    assert listener.reason("no idea") == "no idea"

    listener.log(logging.ERROR, FORMAT, "FAIL", "penstock#1", "[thrd:a:1/bootstrap]: a:1/bootstrap: Disconnected")
    assert listener.reason("no idea") == "a:1/bootstrap: Disconnected"
    listener.error(KafkaError(KafkaError._RESOLVE, "no such host"))
    assert listener.reason("no idea") == "no such host (_RESOLVE)"

    listener.reset()
    assert listener.reason("no idea") == "no idea"


def test_an_outage_is_known_until_it_is_over_and_a_fatal_error_for_ever() -> None:
    """The one goes away with the brokers' return, the other with nothing."""
    listener = ClientCallbacks()

    listener.error(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    listener.error(KafkaError(KafkaError._AUTHENTICATION))
    assert listener.down
    listener.reset()

    assert not listener.down
    assert listener.fatal is not None
    assert listener.fatal.code() == KafkaError._AUTHENTICATION
