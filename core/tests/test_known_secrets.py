"""Secrets of a configuration do not come back in what a client says."""

from __future__ import annotations

import logging

import pytest

from penstock import known_secrets
from penstock.config.files import load
from penstock.config.masking import is_secret, shown
from penstock.config.resolve import problems_of
from penstock.errors import FatalConnectorError, NotConnected, ProduceError
from penstock.known_secrets import SecretFilter, hide, remember


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test lets the process remember would be masked in the texts of all later ones."""
    monkeypatch.setattr(known_secrets, "_known", set())


@pytest.mark.parametrize("kind", [NotConnected, ProduceError, FatalConnectorError])
def test_an_error_of_a_connector_hides_what_a_configuration_keeps_secret(kind: type[Exception]) -> None:
    """Whoever raises it, with the client's own text."""
    remember(["correct-horse-battery", "redis://user:staple%40x@host:1/0"])

    text = str(kind("NOAUTH for correct-horse-battery, staple%40x, staple@x, see https://u:pw@host, secret=abc"))

    assert not any(secret in text for secret in ("horse", "staple", "pw@", "abc"))
    assert text.startswith("NOAUTH for ********, ")


def test_a_short_secret_leaves_words_alone() -> None:
    """A password "host" does not turn "hostname" into stars."""
    remember(["host", "x"])

    assert hide("x at hostname and host") == "x at hostname and ********"


def test_reading_options_remembers_their_secrets() -> None:
    """Also of a class without an options model, and of a block inside."""
    source = load(
        {"queues": {"q": {"connector": "kafka", "config": {"consumer": {"sasl.pasword": "hunter2-of-the-queue"}}}}}
    )
    problems = problems_of(source, (), [("q", "input")])

    assert "hunter2-of-the-queue" not in " ".join(problems)
    assert str(NotConnected("hunter2-of-the-queue is wrong")) == "******** is wrong"


@pytest.mark.parametrize(
    "key",
    [
        "sasl.pasword",
        "passwrd",
        "pssword",
        "secert",
        "sasl.tokn",
        "api-tokens",
        "credentails",
        "sasl.oauthbearer.config",
    ],
)
def test_a_key_that_is_nearly_a_secrets_name_is_masked(key: str) -> None:
    """A misspelt key is refused, and its value must not be shown on the way."""
    assert is_secret(None, key)
    assert "hunter2" not in shown({"consumer": {key: "hunter2"}})


@pytest.mark.parametrize(
    "key", ["group.id", "client.id", "topic", "session.timeout.ms", "partition", "position", "host"]
)
def test_an_ordinary_key_is_shown(key: str) -> None:
    """Masks hide nothing that people need."""
    assert not is_secret(None, key)


def test_what_is_logged_is_masked_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """For handlers and for the loggers of clients."""
    remember(["correct-horse-battery"])
    log = logging.getLogger("penstock.test")
    log.addFilter(SecretFilter())
    try:
        raise ValueError("of correct-horse-battery")
    except ValueError:
        log.exception("the client said %s", "correct-horse-battery")

    assert "horse" not in caplog.text
    assert "the client said ********" in caplog.text
    assert "ValueError: of ********" in caplog.text
