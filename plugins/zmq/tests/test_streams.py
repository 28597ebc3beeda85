"""Push and pull: what is carried, what is lost, and that it is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected
from penstock.message import QueueMessage, Record
from penstock.standalone import resolve
from penstock_kit import free_port
from penstock_zmq.options import ZmqOptions
from penstock_zmq.sockets import ERRORS
from penstock_zmq.streams import PullConsumer, PushProducer

TIMEOUT = 20.0  # seconds for anything that must happen
Make = Callable[..., Any]


@pytest.fixture
def address() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


@pytest.fixture
def make(address: str) -> Iterator[Make]:
    made: list[Any] = []

    def make(kind: Any, **options: Any) -> Any:
        made.append(kind(address, ZmqOptions(**options)))
        made[-1].connect()
        return made[-1]

    yield make
    for each in made:
        each.shutdown()


def take(consumer: PullConsumer, count: int) -> list[QueueMessage]:
    found: list[QueueMessage] = []
    deadline = time.monotonic() + TIMEOUT
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count}"
        found += consumer.consume(count - len(found), 0.1)
    return found


def test_messages_come_as_they_were_sent(make: Make) -> None:
    """Byte for byte: binary bodies, an empty one, keys, headers that repeat, a null body."""
    consumer, producer = make(PullConsumer), make(PushProducer)
    records = [
        Record(bytes(range(256))),
        Record(b""),
        Record(None, key=b""),
        Record(b"x", key=b"\xff", headers=[("a", b"1"), ("a", b"\xff"), ("ü", b"")]),
    ]
    assert producer.produce(records) == [None] * 4

    found = take(consumer, 4)

    assert [(each.message, each.key, list(each.headers)) for each in found] == [
        (each.message, each.key, list(each.headers)) for each in records
    ]
    assert consumer.on_success(found) == 0


def test_it_is_said_at_the_start(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Once by each side, as a warning."""
    make(PullConsumer).connect()
    make(PushProducer).connect()

    assert [record.levelname for record in caplog.records if "at most once" in record.message] == ["WARNING"] * 2


def test_an_output_never_sends_to_nobody(make: Make) -> None:
    """A send would succeed, and the message would end with the process: without a peer it is not confirmed."""
    producer = make(PushProducer, timeout=0.2)
    with pytest.raises(NotConnected, match="no peer is there"):
        producer.produce([Record(b"1")])

    consumer = make(PullConsumer)
    deadline = time.monotonic() + TIMEOUT
    sent: Any = None
    while sent != [None]:
        assert time.monotonic() < deadline
        try:
            sent = producer.produce([Record(b"1")])
        except NotConnected:
            producer.connect()

    assert [message.message for message in take(consumer, 1)] == [b"1"]


def test_a_full_worker_holds_the_sender(make: Make) -> None:
    """What does not fit is not confirmed; of a call those that were sent are, so none is sent twice."""
    consumer = make(PullConsumer, high_water_mark=10)
    producer = make(PushProducer, high_water_mark=10, timeout=0.5)
    results = producer.produce([Record(b"%d" % number + bytes(100_000)) for number in range(500)])
    confirmed = results.count(None)
    assert 0 < confirmed < 500
    assert all(result is None or result.retriable for result in results)

    found = take(consumer, confirmed)

    assert len({message.message for message in found}) == confirmed
    assert not consumer.consume(1, 0.2)


def test_a_message_that_is_too_large_is_refused_alone(make: Make) -> None:
    """Before it is sent: the peer would cut the connection, and lose others with it."""
    consumer, producer = make(PullConsumer), make(PushProducer, max_message_bytes=1000)

    results = producer.produce([Record(b"1"), Record(bytes(1001)), Record(b"2")])

    assert [result is None for result in results] == [True, False, True]
    assert [message.message for message in take(consumer, 2)] == [b"1", b"2"]


def test_a_stop_counts_what_it_loses(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Two in work, one to be delivered again; no thread is left."""
    before = threading.active_count()
    consumer, producer = make(PullConsumer), make(PushProducer)
    producer.produce([Record(b"%d" % number) for number in range(4)])
    found = take(consumer, 4)
    consumer.on_success(found[:1])
    consumer.on_fail(found[1:2])
    consumer.shutdown()
    producer.shutdown()

    assert "3 messages were not settled, and are lost" in caplog.text
    assert threading.active_count() == before


def test_encryption_with_the_right_keys_and_without(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong server key and no key at all end with words that name the option, no secret among them."""
    (server_key, server_secret), (public, secret) = zmq.curve_keypair(), zmq.curve_keypair()
    other, _ = zmq.curve_keypair()
    consumer = make(PullConsumer, curve_secret_key=server_secret.decode())
    mine = {"curve_secret_key": secret.decode(), "curve_public_key": public.decode(), "timeout": 0.5}
    with pytest.raises(NotConnected, match="'curve_server_key'") as caught:
        make(PushProducer, **mine, curve_server_key=other.decode()).produce([Record(b"1")])
    assert secret.decode() not in str(caught.value) + caplog.text
    with pytest.raises(NotConnected, match="no peer is there"):
        make(PushProducer, timeout=0.5).produce([Record(b"1")])

    producer = make(PushProducer, **{**mine, "timeout": TIMEOUT}, curve_server_key=server_key.decode())
    assert producer.produce([Record(b"1")]) == [None]
    assert [message.message for message in take(consumer, 1)] == [b"1"]
    assert secret.decode() not in repr(producer.options)


@pytest.mark.parametrize(
    ("value", "config", "text"),
    [
        ("frames", {}, "'frames' is not an address"),
        ("tcp://127.0.0.1", {}, "is not an address"),
        ("tcp://0.0.0.0:5555", {}, "can be reached from the network"),
        ("frames", {"host": "0.0.0.0", "port": 5555}, "can be reached from the network"),
        ("tcp://127.0.0.1:5555", {"curve_secret_key": "short"}, "not a key of 40 characters"),
        ("tcp://127.0.0.1:5555", {"bind": False, "curve_secret_key": "a" * 40}, "needs 'curve_public_key'"),
        ("tcp://127.0.0.1:5555", {"lingre": 1}, "did you mean 'linger'"),
        ("tcp://127.0.0.1:5555", {"linger": 9}, "linger"),
    ],
)
@pytest.mark.parametrize("connector", ["zmq", "zmq.reply"])
def test_a_wrong_option_is_found_before_anything_is_opened(
    connector: str, value: str, config: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, with what to write."""
    for variable in ("ZMQ_HOST", "ZMQ_PORT", "ZMQ_CURVE_SECRET_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ConfigError) as caught:
        resolve({"connector": connector, "value": value, "config": config}, "input")
    assert text in str(caught.value)


def test_host_and_port_of_the_environment_make_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """py-volley's variables count where the value is a name, the host too."""
    monkeypatch.setenv("ZMQ_HOST", "localhost")
    monkeypatch.setenv("ZMQ_PORT", "5757")
    options: Any = resolve({"connector": "zmq.reply", "value": "bmi"}, "input").options

    assert options.address("bmi") == "tcp://localhost:5757"
    assert options.address("tcp://h:1") == "tcp://h:1"


def test_every_error_of_the_client_has_a_meaning(address: str) -> None:
    """A new class fails this test; an address that cannot be is fatal."""
    # Subclasses of ZMQError are told by its number; the rest is not raised by what is called here.
    assert ERRORS.unmapped(zmq) == {
        "ContextTerminated",
        "DraftFDWarning",
        "InterruptedSystemCall",
        "NotDone",
        "ZMQBaseError",
        "ZMQBindError",
        "ZMQError",
        "ZMQVersionError",
    }
    consumer = PullConsumer("tcp://nowhere.invalid.:1", ZmqOptions())
    with pytest.raises((FatalConnectorError, NotConnected), match="correct `value`"):
        consumer.connect()
    consumer.shutdown()
    with pytest.raises(ConnectorError, match="not connected"):
        PushProducer(address, ZmqOptions()).produce([Record(b"")])


def test_an_error_of_the_socket_takes_no_message_with_it(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """One that waits to be delivered again still waits, and is counted at the end."""
    consumer, producer = make(PullConsumer), make(PushProducer)
    producer.produce([Record(b"1")])
    consumer.on_fail(take(consumer, 1))
    consumer._endpoint.socket.close()

    with pytest.raises(ConnectorError):
        consumer.consume(2, 0.0)
    consumer.shutdown()

    assert "1 messages were not settled, and are lost" in caplog.text
