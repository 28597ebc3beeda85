"""The broker as a process: who listens, for whom, and until when."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from penstock.message import Record
from penstock_memory.consumer import MemoryConsumer
from penstock_memory.producer import MemoryProducer

Until = Callable[..., Awaitable[None]]


def start(url: str, *more: str) -> subprocess.Popen[str]:
    """A broker as a child of ours."""
    command = [sys.executable, "-m", "penstock_memory.server", url, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_of_five_started_at_once_one_listens(place: Any) -> None:
    """The others end at once with exit code 3; the one goes when it is unused, and takes its socket along."""
    brokers = [start(place.url, "--linger=2") for _ in range(5)]
    codes = sorted(broker.wait(20) for broker in brokers)
    for broker in brokers:
        broker.communicate()

    assert codes == [0, 3, 3, 3, 3]
    assert not place.path.exists()


def test_five_clients_that_come_at_once_share_one_broker(place: Any) -> None:
    """Each starts a broker if it finds none; all end up at the same one."""

    async def main() -> None:
        producers = [MemoryProducer("q", place.options()) for _ in range(5)]
        await asyncio.gather(*(producer.connect() for producer in producers))
        for number, producer in enumerate(producers):
            await producer.produce([Record(str(number).encode())])
        consumer = MemoryConsumer("q", place.options())
        await consumer.connect()
        assert [m.message for m in await consumer.consume(9, 5)] == [b"0", b"1", b"2", b"3", b"4"]
        for connector in (*producers, consumer):
            await connector.shutdown()

    asyncio.run(main())


def test_only_its_user_may_connect(place: Any) -> None:
    """The socket is 0600 from its first moment, the lock too, and a directory that was made for them 0700."""
    url = f"unix://{place.path.parent}/made/s.sock"
    detached = subprocess.run(
        [sys.executable, "-m", "penstock_memory.server", url, "--detach", "--linger=5"], timeout=20
    )
    made = place.path.parent / "made"

    assert detached.returncode == 0
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (made, made / "s.sock", made / "s.sock.lock")]
    assert modes == [0o700, 0o600, 0o600]


def test_a_socket_left_by_a_killed_broker_is_replaced(place: Any, until: Until) -> None:
    """The lock, not the file, says whether somebody lives."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place.path))

    async def main() -> None:
        producer = MemoryProducer("q", place.options())
        await producer.connect()
        assert await producer.produce([Record(b"x")]) == [None]
        await producer.shutdown()

    asyncio.run(main())


def test_a_file_that_is_no_socket_is_not_replaced(place: Any) -> None:
    """It is somebody's; the broker ends instead and says so."""
    place.path.write_text("precious")
    broker = start(place.url)
    _output, errors = broker.communicate(timeout=20)

    assert (broker.returncode, place.path.read_text()) == (1, "precious")
    assert f"cannot listen at {place.url}: there is a file of that name, which is no socket" in errors


def test_a_lock_that_leads_elsewhere_is_not_followed(place: Any) -> None:
    """Whoever may write beside the socket must not make us write into another file of ours."""
    precious = place.path.parent / "precious"
    precious.write_text("precious")
    place.lock.symlink_to(precious)
    broker = start(place.url)
    _output, errors = broker.communicate(timeout=20)
    place.lock.unlink()

    assert (broker.returncode, precious.read_text()) == (1, "precious")
    assert f"cannot listen at {place.url}" in errors


def test_it_ends_soon_when_it_is_unused_and_empty(place: Any, until: Until) -> None:
    """`linger` seconds after the last client; not while one is connected."""

    async def main() -> None:
        consumer = MemoryConsumer("q", place.options(linger=0.2, keep=60))
        await consumer.connect()
        assert list(await consumer.consume(1, 0.6)) == []
        assert place.is_taken()
        await consumer.shutdown()
        await until(lambda: not place.is_taken())

        assert not place.path.exists()

    asyncio.run(main())


def test_it_keeps_messages_for_those_who_come_later_but_not_for_ever(place: Any, until: Until) -> None:
    """With messages left it stays beyond `linger`, until `keep` is over."""

    async def main() -> None:
        options = place.options(linger=0.1, keep=1.5)
        producer = MemoryProducer("q", options)
        await producer.connect()
        await producer.produce([Record(b"x"), Record(b"y")])
        first = place.pid()
        await producer.shutdown()
        # Longer than it would linger without messages.
        with pytest.raises(TimeoutError):
            await until(lambda: not place.is_taken(), 0.7)
        consumer = MemoryConsumer("q", options)
        await consumer.connect()
        assert place.pid() == first
        assert [m.message for m in await consumer.consume(9, 5)] == [b"x", b"y"]
        await consumer.shutdown()
        await until(lambda: not place.is_taken())

    asyncio.run(main())


def test_a_signal_ends_it_and_removes_its_socket(place: Any, until: Until) -> None:
    """Whoever is connected, and without a word."""
    broker = start(place.url)

    async def main() -> None:
        producer = MemoryProducer("q", place.options())
        await producer.connect()
        os.kill(place.pid(), signal.SIGTERM)
        await until(lambda: not place.is_taken())
        assert not place.path.exists()
        await producer.shutdown()

    asyncio.run(until(lambda: place.path.exists() and place.lock.read_text() != ""))
    asyncio.run(main())
    assert (broker.communicate(timeout=20)[1], broker.returncode) == ("", 0)


def test_garbage_ends_its_own_connection_only(place: Any) -> None:
    """Whatever is sent: the broker lives, and serves the others."""
    garbage = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 64,
        b"\x00\x00\x00\x02\x00\x00\x00\x00[]",
        b'\x00\x00\x00\x05\x00\x00\x00\x00{"a":',
        b"\x00\x01\x86\xa0\x00\x00\x00\x00" + b"[" * 100_000,
        b"\x00\x00\x00\x01",
    ]

    async def main() -> None:
        producer = MemoryProducer("q", place.options())
        await producer.connect()
        for data in garbage:
            reader, writer = await asyncio.open_unix_connection(place.path)
            writer.write(data)
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            await writer.wait_closed()

        assert await producer.produce([Record(b"x")]) == [None]
        await producer.shutdown()

    asyncio.run(main())


def test_a_nonsensical_request_is_answered_with_what_is_wrong(place: Any) -> None:
    """And the connection goes on."""
    from penstock_memory import wire

    async def main() -> None:
        producer = MemoryProducer("q", place.options())
        await producer.connect()
        reader, writer = await asyncio.open_unix_connection(place.path)
        for request in ({"id": 1, "op": "fly"}, {"id": 2}, {"id": 3, "op": "open"}, {"id": 4, "op": "settle"}):
            writer.write(wire.encode(request))
            answer, _payload = await asyncio.wait_for(wire.read(reader), 5)
            assert answer["id"] == request["id"]
            assert "Error" in answer["error"]
        writer.close()
        await writer.wait_closed()
        await producer.shutdown()

    asyncio.run(main())


@pytest.mark.parametrize("url", ["http://127.0.0.1", "unix:relative", "tcp://192.0.2.1:5555"])
def test_a_wrong_address_is_refused_with_the_right_ones(url: str) -> None:
    """On the command line as in a config."""
    broker = start(url)
    _output, errors = broker.communicate(timeout=20)

    assert broker.returncode == 2
    assert url in errors
    assert "write unix:///absolute/path.sock" in errors or "write tcp://127.0.0.1:PORT" in errors
