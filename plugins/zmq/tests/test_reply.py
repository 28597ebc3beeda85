"""Requests are answered by the function's outputs, and no requester waits for ever."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from penstock.errors import ConnectorError, NotConnected
from penstock.message import QueueMessage, Record
from penstock_kit import free_port
from penstock_zmq.options import ZmqOptions
from penstock_zmq.reply import ReplyConsumer, ReplyProducer

PAGE = Path(__file__).parents[3] / "docs/how_to/zmq.md"
TIMEOUT = 20.0  # seconds for anything that must happen


class Server:
    """An input and an output of one address."""

    def __init__(self) -> None:
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.consumer = ReplyConsumer(self.address, ZmqOptions())
        self.producer = ReplyProducer(self.address, ZmqOptions())
        self.context: zmq.Context[Any] = zmq.Context()
        self.clients: list[Any] = []
        self.consumer.connect()
        self.producer.connect()

    def client(self, kind: int = zmq.REQ) -> Any:
        """A socket of another program."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.RCVTIMEO, int(TIMEOUT * 1000))
        socket.connect(self.address)
        self.clients.append(socket)
        return socket

    def take(self, count: int) -> list[QueueMessage]:
        """Consume until so many requests have come."""
        found: list[QueueMessage] = []
        deadline = time.monotonic() + TIMEOUT
        while len(found) < count:
            assert time.monotonic() < deadline
            found += self.consumer.consume(count - len(found), 0.1)
        return found

    def answer(self, message: QueueMessage, body: bytes | None, **more: Any) -> None:
        """Send an output as the engine does: with the headers that it passes on."""
        passed = [pair for pair in message.headers if pair[0] == "penstock-id"]
        (result,) = self.producer.produce([Record(body, headers=[*passed, *more.pop("headers", ())], **more)])
        assert result is None

    def close(self) -> None:
        self.consumer.shutdown()
        self.producer.shutdown()
        self.context.destroy(0)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_the_programs_of_the_manual_talk_to_each_other(tmp_path: Path) -> None:
    """A worker in a process of its own, by `penstock run`, and the client of the page: the output is the answer."""
    server, client = re.findall(r"```python[^\n]*\n(.*?)```", PAGE.read_text(), re.DOTALL)
    port = str(free_port())
    (tmp_path / "bmi.py").write_text(server.replace("5555", port))
    (tmp_path / "client.py").write_text(client.replace("5555", port))
    command = [sys.executable, "-m", "penstock", "run", "bmi.py", "--metrics-port", "none"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ}) as worker:
        try:
            done = subprocess.run(
                [sys.executable, "client.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            worker.terminate()
            _, log = worker.communicate(timeout=30)
    assert done.stdout == "b'{\"bmi\":20.0}'\n", done.stderr + log
    assert "nothing is stored: a requester whose answer does not come has to ask again" in log
    assert worker.returncode == 0


def test_answers_go_back_in_any_order(server: Server) -> None:
    """Three requests are open at once, and answered the last first: each requester gets its own."""
    clients = [server.client() for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(b"%d" % number)
    for message in reversed(server.take(3)):
        server.answer(message, b"answer to " + (message.message or b""))

    assert [client.recv() for client in clients] == [b"answer to 0", b"answer to 1", b"answer to 2"]


def test_a_request_without_an_answer_gets_an_empty_one(server: Server) -> None:
    """As after a dead letter, or a function that returns True; a REQ socket would wait for ever."""
    client = server.client()
    client.send(b"question")
    assert server.consumer.on_success(server.take(1)) == 0

    assert client.recv_multipart() == [b""]


def test_a_failed_request_is_delivered_again_and_answered_once(server: Server) -> None:
    """From memory, as it came, with one attempt more; what the function made of it does not come again."""
    client = server.client()
    client.send(b"question")
    (first,) = server.take(1)
    first.message = b"changed"
    assert server.consumer.on_fail([first]) == 0
    (again,) = server.take(1)
    server.answer(again, b"1")
    server.answer(again, b"2")
    assert server.consumer.on_success([again]) == 0
    assert server.consumer.on_success([again, first]) == 2

    assert (again.message, again.attempts) == (b"question", 2)
    assert client.recv() == b"1"
    client.send(b"next")
    server.answer(server.take(1)[0], b"3")
    assert client.recv() == b"3"


def test_an_answer_to_nobody_is_refused_with_what_to_do(server: Server) -> None:
    """Without the header of a request in work the input becomes a failure."""
    (result,) = server.producer.produce([Record(b"answer")])

    assert result is not None
    assert not result.retriable
    assert "headers={'penstock-id': msg_ctx}" in str(result)


def test_an_answer_whose_requester_is_gone_stops_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """It is dropped with a warning, and the worker goes on."""
    client = server.client(zmq.DEALER)
    client.send_multipart([b"", b"question"])
    (message,) = server.take(1)
    client.close(0)
    deadline = time.monotonic() + TIMEOUT
    while "its requester is gone" not in caplog.text:
        assert time.monotonic() < deadline
        server.consumer._requests[message.position].answered = False
        server.answer(message, b"answer")
    assert server.consumer.on_success([message]) == 0


def test_a_request_with_key_and_headers_gets_an_answer_with_them(server: Server) -> None:
    """Three frames in, three frames out; a request of one frame has an answer of one."""
    client = server.client()
    client.send_multipart([b"question", b"\x01key", b'[["colour", "red"]]'])
    (message,) = server.take(1)
    assert message.key == b"key"
    assert ("colour", b"red") in message.headers

    server.answer(message, None, key=b"k", headers=[("h", b"\xff")])

    body, key, headers = client.recv_multipart()
    assert (body, key) == (b"", b"\x03k")
    assert b'["h", {"base64": "/w=="}]' in headers


def test_what_is_not_a_request_is_dropped_and_named(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A DEALER without the empty frame, then frames of another program: errors in the log, and the next one comes."""
    client = server.client(zmq.DEALER)
    client.send(b"no empty frame")
    client.send_multipart([b"", b"two", b"frames"])
    client.send_multipart([b"", b"well"])

    assert [message.message for message in server.take(1)] == [b"well"]
    assert "it has no empty frame before its body" in caplog.text
    assert "one frame, or three" in caplog.text


def test_an_address_that_is_taken_says_so(server: Server) -> None:
    """The worker waits: after a rolling restart it is free."""
    second = ReplyConsumer(server.address, ZmqOptions())
    with pytest.raises(NotConnected, match=r"another process has bound it.*`bind: false`"):
        second.connect()
    second.shutdown()


def test_after_the_close_nothing_is_answered(server: Server) -> None:
    """It raises, and the log counts what got no answer."""
    client = server.client()
    client.send(b"question")
    (message,) = server.take(1)
    server.consumer.shutdown()
    (result,) = server.producer.produce([Record(b"", headers=message.headers)])
    server.producer.shutdown()

    assert result is not None
    assert not result.retriable
    with pytest.raises(ConnectorError):
        server.producer.produce([])
    with pytest.raises(ConnectorError):
        server.consumer.consume(1, 0)
