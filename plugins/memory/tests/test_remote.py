"""A queue in a broker: what happens when the broker dies, freezes, is another, or may not be reached."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_memory import remote, wire
from penstock_memory.consumer import MemoryConsumer
from penstock_memory.options import MemoryOptions
from penstock_memory.producer import MemoryProducer

Until = Callable[..., Awaitable[None]]


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def connected(options: MemoryOptions) -> tuple[MemoryConsumer, MemoryProducer]:
    consumer, producer = MemoryConsumer("q", options), MemoryProducer("q", options)
    await consumer.connect()
    await producer.connect()
    return consumer, producer


async def close(*connectors: MemoryConsumer | MemoryProducer) -> None:
    for connector in connectors:
        await connector.shutdown()


def test_a_dead_broker_is_not_connected_and_connecting_starts_the_next(place: Any, until: Until) -> None:
    """Every call says so, the waiting one at once; after `connect` all goes on, with an empty queue."""

    async def main() -> None:
        consumer, producer = await connected(place.options())
        await producer.produce([Record(b"lost with the broker")])
        held = await consumer.consume(1, 5)
        waiting = asyncio.create_task(consumer.consume(1, 60))
        first_pid = place.pid()
        os.kill(first_pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            for call in (waiting, consumer.on_success(held), consumer.lag(), producer.produce([Record(b"x")])):
                with pytest.raises(NotConnected, match=r"unix:///.*s\.sock"):
                    await call
        await asyncio.gather(consumer.connect(), producer.connect())
        assert place.pid() != first_pid
        assert await producer.produce([Record(b"new")]) == [None]
        fresh = await consumer.consume(9, 5)

        assert [m.message for m in fresh] == [b"new"]
        # The delivery from before the death must not settle the one of the same rank after it.
        assert await consumer.on_success(held) == 1
        assert await consumer.on_success(fresh) == 0
        await close(consumer, producer)

    asyncio.run(main())


def test_a_broker_that_freezes_is_not_connected_and_when_it_thaws_nothing_is_lost(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call waits for ever; what the consumer held is given back, because its connection was closed."""
    monkeypatch.setattr(remote, "ANSWER_TIMEOUT", 0.3)

    async def main() -> None:
        consumer, producer = await connected(place.options())
        await producer.produce([Record(b"a"), Record(b"b")])
        held = await consumer.consume(2, 5)
        os.kill(place.pid(), signal.SIGSTOP)
        try:
            with pytest.raises(NotConnected, match="did not answer within"):
                await consumer.on_success(held)
        finally:
            os.kill(place.pid(), signal.SIGCONT)
        monkeypatch.setattr(remote, "ANSWER_TIMEOUT", 10.0)
        await consumer.connect()
        # The frozen broker may have read the settlement before it noticed that we were gone: none, or both, are left.
        again = await consumer.consume(9, 1)

        assert [m.message for m in again] in ([], [b"a", b"b"])
        await close(consumer, producer)

    asyncio.run(main())


def test_a_cancelled_consume_keeps_no_message(place: Any) -> None:
    """Against the contract, and still nothing is lost: the connection is given up, and connecting makes it good."""

    async def main() -> None:
        consumer, producer = await connected(place.options())
        waiting = asyncio.create_task(consumer.consume(1, 60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await producer.produce([Record(b"x")])
        with pytest.raises(NotConnected, match="cancelled"):
            await consumer.consume(1, 5)
        await consumer.connect()

        assert [m.message for m in await consumer.consume(1, 5)] == [b"x"]
        await close(consumer, producer)

    asyncio.run(main())


def test_a_list_that_is_cut_and_finds_no_room_waits_once(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a frame that was refused is not sent: it would wait again, and overtake what was refused."""
    monkeypatch.setattr("penstock_memory.producer.PATIENCE", 0.3)
    monkeypatch.setattr(wire, "CHUNK_ROWS", 0)

    async def main() -> None:
        consumer, producer = await connected(place.options(max_length=1))
        async with asyncio.timeout(3):
            answers = await producer.produce([Record(b"x")] * 20)

        assert [answer is None for answer in answers] == [True] + [False] * 19
        await close(consumer, producer)

    asyncio.run(main())


def test_tcp_on_this_machine_works_too(free_port: int, until: Until) -> None:
    """The port decides who listens; the broker ends when it is unused."""

    async def main() -> None:
        options = MemoryOptions(url=f"tcp://127.0.0.1:{free_port}", linger=0.2)
        consumer, producer = await connected(options)
        await producer.produce([Record(b"x")])
        messages = await consumer.consume(1, 5)
        assert [m.message for m in messages] == [b"x"]
        assert await consumer.on_success(messages) == 0
        await close(consumer, producer)

    asyncio.run(main())

    def is_free() -> bool:
        # By binding, not by connecting: a visitor would keep the broker awake.
        with socket.socket() as successor:
            successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                successor.bind(("127.0.0.1", free_port))
            except OSError:
                return False
            return True

    asyncio.run(until(is_free))


def test_something_else_at_the_port_is_named(free_port: int) -> None:
    """A server of another protocol is refused for good, instead of being tried for ever."""

    async def main() -> None:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 mail.example ESMTP ready\r\n")
            writer.close()

        async with await asyncio.start_server(greet, "127.0.0.1", free_port):
            consumer = MemoryConsumer("q", MemoryOptions(url=f"tcp://127.0.0.1:{free_port}", linger=0.2))
            with pytest.raises(FatalConnectorError, match="speaks another protocol"):
                await consumer.connect()
            await consumer.shutdown()

    asyncio.run(main())


def test_a_broker_of_another_version_is_named(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both numbers are in the error."""

    async def main() -> None:
        consumer, producer = await connected(place.options())
        monkeypatch.setattr(wire, "PROTOCOL", 99)
        newer = MemoryConsumer("q", place.options())
        with pytest.raises(FatalConnectorError, match="protocol 1, the client 99"):
            await newer.connect()
        await close(consumer, producer, newer)

    asyncio.run(main())


def test_a_file_in_the_place_of_the_socket_is_left_alone(place: Any) -> None:
    """It is somebody's; the error says so."""
    place.path.write_text("precious")

    async def main() -> None:
        with pytest.raises(FatalConnectorError, match="is no socket; choose another path"):
            await MemoryConsumer("q", place.options()).connect()

    asyncio.run(main())
    assert place.path.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to another user")
def test_a_socket_of_another_user_is_refused(place: Any) -> None:
    """Whoever owns the socket reads the messages."""
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(place.path))
        os.chown(place.path, 12345, 12345)

        async def main() -> None:
            with pytest.raises(FatalConnectorError, match="belongs to another user"):
                await MemoryConsumer("q", place.options()).connect()

        asyncio.run(main())


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """The reason of the broker that could not start reaches whoever started it."""
    (tmp_path / "f").write_text("")

    async def main() -> None:
        with pytest.raises(FatalConnectorError, match=r"unix:///.*(Not a directory|File exists)"):
            await MemoryConsumer("q", MemoryOptions(url=f"unix://{tmp_path}/f/s.sock")).connect()

    asyncio.run(main())


def test_an_extension_waits_for_no_settlement(free_port: int, proxy: Any) -> None:
    """A broker that is slow to reach gets all requests at once: together they take as long as one."""

    async def main() -> None:
        producer = MemoryProducer("q", MemoryOptions(url=f"tcp://127.0.0.1:{free_port}", linger=0.2))
        await producer.connect()
        slow = proxy("127.0.0.1", free_port)
        consumer = MemoryConsumer("q", MemoryOptions(url=f"tcp://127.0.0.1:{slow.port}", vt=30))
        await consumer.connect()
        await producer.produce([Record(b"x") for _ in range(60)])
        messages = await consumer.consume(60, 10.0)
        await asyncio.to_thread(slow.delay, 0.2)
        settling = [asyncio.create_task(consumer.on_success([message])) for message in messages[:40]]
        async with asyncio.timeout(8):  # one after the other they would take 16
            await consumer.extend(messages)
        assert await asyncio.gather(*settling) == [0] * 40
        await asyncio.to_thread(slow.delay, 0.0)
        assert await consumer.on_success(messages[40:]) == 0
        await close(consumer, producer)

    asyncio.run(main())
