"""What the distribution offers, what its options refuse, and what the client's errors mean."""

from __future__ import annotations

from importlib.metadata import entry_points

import aiormq.exceptions
import pytest

from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_rabbitmq import plugin
from penstock_rabbitmq.errors import ERRORS
from penstock_rabbitmq.options import RabbitmqOptions
from penstock_rabbitmq.wire import read_headers, written

MEANINGLESS = {
    # The roots, and what only a bug of the caller causes.
    *("AMQPError", "AMQPChannelError", "MethodNotImplemented"),
    # The answers to single records.
    *("DeliveryError", "PublishError"),
}


def resolve(value: str = "orders", role: str = "input", **config: object) -> RabbitmqOptions:
    """The options that a queue's `config:` becomes, on the way that every configuration takes."""
    configuration = load({"queues": {"orders": {"connector": "rabbitmq", "value": value, "config": config}}})
    options = resolve_queue(configuration, "orders", role, registry=registry_for(configuration)).options  # type: ignore[arg-type]
    assert isinstance(options, RabbitmqOptions)
    return options


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "HOST", "PORT", "USERNAME", "PASSWORD", "VIRTUAL_HOST"):
        monkeypatch.delenv(f"RABBITMQ_{name}", raising=False)


def test_the_entry_point_leads_to_the_plugin() -> None:
    """Group penstock, name rabbitmq; two connectors, each with profiles."""
    (found,) = entry_points(group="penstock", name="rabbitmq")

    assert found.load() is plugin
    assert [spec.name for spec in plugin.penstock_connectors()] == ["rabbitmq", "rabbitmq.classic"]
    assert {"rabbitmq", "rabbitmq-dlq", "rabbitmq-classic"} <= {each.name for each in plugin.penstock_profiles()}


def test_nothing_need_be_said() -> None:
    """A server on this machine is the default, as for every client of RabbitMQ."""
    assert resolve().address == "localhost:5672"
    assert resolve(tls=True).address == "localhost:5671"


def test_a_url_has_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Percent-encoded where it must be; what it leaves out stands in the single keys."""
    monkeypatch.setenv("RABBITMQ_URL", "amqps://shop:p%40ss@mq.example/a%2Fb")
    monkeypatch.setenv("RABBITMQ_USERNAME", "other")
    server = resolve().server()

    assert server == {
        "host": "mq.example",
        "port": 5671,
        "login": "shop",
        "password": "p@ss",
        "virtualhost": "a/b",
        "ssl": True,
    }
    assert resolve(url="amqp://mq.example", username="me").server()["login"] == "me"
    assert "p%40ss" not in repr(resolve())


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"prefetchh": 10}, "prefetch"),
        ({"exchange_type": "topics"}, "exchange_type"),
        ({"host": "amqp://guest:hunter2@mq"}, "host"),
        ({"url": "https://guest:hunter2@mq"}, "percent-encoded"),
        ({"url": "amqp://guest:hunter2@mq:x"}, "percent-encoded"),
        ({"mechanism": "external"}, "needs tls.cert"),
        ({"tls": {"ca": "/nowhere/ca.pem"}}, "tls.ca"),
        ({"durable": False}, "rabbitmq.classic"),
        ({"arguments": {"x-queue-type": "stream"}}, "x-queue-type"),
        ({"bindings": ["a"]}, "`exchange` is not set"),
        ({"value": "amq.gen"}, "reserves"),
        ({"value": "ü" * 101}, "longer than 200 bytes"),
        ({"exchange": "e", "exchange_type": "topic", "routing_key": "orders.#", "role": "output"}, "is a pattern"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_opened(config: dict[str, str], problem: str) -> None:
    """The error names the key, and shows no secret."""
    with pytest.raises(ConfigError) as refused:
        resolve(**config)

    assert problem in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_every_error_of_the_client_has_a_meaning() -> None:
    """One without a row, and not listed as meaningless, is new: decide what it means."""
    assert ERRORS.unmapped(aiormq.exceptions) == MEANINGLESS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(111, "Connection refused"), NotConnected),
        (aiormq.exceptions.ConnectionClosed(320, "CONNECTION_FORCED - broker forced connection closure"), NotConnected),
        (aiormq.exceptions.ProbableAuthenticationError("ACCESS_REFUSED - Login was refused"), FatalConnectorError),
        (aiormq.exceptions.ChannelAccessRefused("ACCESS_REFUSED - access to queue 'q' refused"), FatalConnectorError),
        (aiormq.exceptions.ChannelNotFoundEntity("NOT_FOUND - no queue 'q' in vhost '/'"), NotConnected),
        (aiormq.exceptions.ChannelPreconditionFailed("PRECONDITION_FAILED - inequivalent arg"), FatalConnectorError),
        (
            aiormq.exceptions.ChannelPreconditionFailed("PRECONDITION_FAILED - delivery acknowledgement on"),
            NotConnected,
        ),
        (aiormq.exceptions.ConnectionNotAllowed("NOT_ALLOWED - vhost x not found"), FatalConnectorError),
        (aiormq.exceptions.AMQPError("something new"), ConnectorError),
    ],
)
def test_the_engine_is_told_what_to_do(error: Exception, kind: type[ConnectorError]) -> None:
    """By the text of the server first, then by the client's class."""
    translated = ERRORS.translate(error, "mq:5672")

    assert type(translated) is kind
    assert str(translated).startswith("RabbitMQ at mq:5672: ")


@pytest.mark.parametrize(
    "headers",
    [
        [("a", b"1"), ("b", b"\xff"), ("c", b""), ("d", None)],
        [("b", b"1"), ("a", b"2"), ("b", b"3")],
        [("x-death", b"ours"), ("a", b"1")],
        [("ü\ud800", b"1"), ("", b"nameless"), ("n" * 129, b"too long for AMQP")],
    ],
)
def test_headers_come_back_byte_for_byte(headers: list[tuple[str, bytes | None]]) -> None:
    """In their order, although a table of AMQP has none, and the client sorts and cuts names."""
    assert list(read_headers(dict(sorted(written(Record(b"", headers=headers)).items())))) == headers


def test_headers_of_other_programs_are_text() -> None:
    """Numbers and tables as JSON; what the server adds is left out."""
    table = {"n": 5, "t": {"a": True}, "s": "ü", "x-death": [{"count": 1}], "x-delivery-count": 2}

    assert read_headers(table) == [("n", b"5"), ("t", b'{"a": true}'), ("s", "ü".encode())]
