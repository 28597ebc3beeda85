"""Secrets of a configuration do not come back in what a client says."""

from __future__ import annotations

import io
import logging
import time

import pytest

from penstock import known_secrets
from penstock.config.files import load
from penstock.config.masking import is_secret, shown
from penstock.config.resolve import problems_of
from penstock.errors import FatalConnectorError, NotConnected, ProduceError
from penstock.known_secrets import SecretFilter, SecretFormatter, hide, remember


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test lets the process remember would be masked in the texts of all later ones."""
    monkeypatch.setattr(known_secrets, "_known", set())


@pytest.mark.parametrize("kind", [NotConnected, ProduceError, FatalConnectorError])
def test_an_error_of_a_connector_hides_what_a_configuration_keeps_secret(kind: type[Exception]) -> None:
    """Whichever part raises it, also with the client's own text."""
    remember(["correct-horse-battery", "redis://user:staple%40x@host:1/0"])

    text = str(kind("NOAUTH for correct-horse-battery, staple%40x, staple@x, see https://u:pw@host, secret=abc"))

    assert not any(secret in text for secret in ("horse", "staple", "pw@", "abc"))
    assert text.startswith("NOAUTH for ********, ")


def test_a_short_secret_leaves_words_alone() -> None:
    """A password "host" does not turn "hostname" into stars."""
    remember(["host", "x"])

    assert hide("x at hostname and host") == "x at hostname and ********"


def test_a_password_that_is_the_users_name_leaves_words_alone() -> None:
    """It hides nothing but that word, everywhere; in the URL it is masked all the same."""
    remember(["postgresql://postgres:postgres@host/db"])

    assert hide("postgres: see penstock_postgres and postgres.orders") == (
        "postgres: see penstock_postgres and postgres.orders"
    )
    assert hide("at postgresql://postgres:postgres@host/db") == "at ********"
    assert hide("at postgresql://postgres:postgres@other/db") == "at postgresql://********@other/db"


@pytest.mark.parametrize("text", ["max_tokens=4096", "tokenizer=bpe", "if token == other:"])
def test_words_that_only_look_like_a_secrets_name_are_left_alone(text: str) -> None:
    """People need them to see what went wrong."""
    assert hide(text) == text


@pytest.mark.parametrize("part", ["A", "YWJj", "token", "token.", "a://", "a@", "secret='", "-----BEGIN "])
def test_masks_take_time_in_proportion_to_the_text(part: str) -> None:
    """A body of 80,000 characters without a space in a client's message does not hold up a worker."""

    def seconds(size: int) -> float:
        text = (part * size)[:size]
        taken = []
        for _ in range(3):
            started = time.thread_time()
            hide(text)
            taken.append(time.thread_time() - started)
        return min(taken)

    for size in (250, 2_500, 20_000):  # small ones first: by the square, the large one takes minutes
        # Four times is in proportion, sixteen times is by the square.
        assert seconds(4 * size) < 10 * seconds(size) + 0.005


def test_reading_options_remembers_their_secrets() -> None:
    """Also of a class without an options model, and of a block inside."""
    source = load(
        {"queues": {"q": {"connector": "kafka", "config": {"consumer": {"sasl.pasword": "hunter2-of-the-queue"}}}}}
    )
    problems = problems_of(source, (), [("q", "input")])

    assert "hunter2-of-the-queue" not in " ".join(map(str, problems))
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


def test_a_handler_of_the_program_gets_the_record_as_it_was() -> None:
    """Its own formatter shows the error in its own way, whatever ours has made of it before."""
    remember(["correct-horse-battery"])
    ours, theirs = logging.StreamHandler(io.StringIO()), logging.StreamHandler(io.StringIO())

    class OneLine(logging.Formatter):
        def formatException(self, ei: object) -> str:  # noqa: ARG002, N802  (its name there)
            return "in one line"

    ours.setFormatter(SecretFormatter(logging.Formatter("ours: %(message)s")))
    theirs.setFormatter(OneLine("theirs: %(message)s, %(args)s"))
    log = logging.Logger("penstock.test")
    log.addHandler(ours)
    log.addHandler(theirs)

    try:
        raise ValueError("of correct-horse-battery")
    except ValueError:
        log.exception("said %s", "correct-horse-battery")

    shown = ours.stream.getvalue()
    assert shown.startswith("ours: said ********\nTraceback")
    assert shown.endswith("ValueError: of ********\n")
    assert theirs.stream.getvalue() == ("theirs: said correct-horse-battery, ('correct-horse-battery',)\nin one line\n")
