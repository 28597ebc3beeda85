"""What a real server answers to a client that it rejects, or cannot serve."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock.errors import FatalConnectorError, NotConnected, ProduceError
from penstock.message import Record
from penstock_nats.consumer import NatsConsumer
from penstock_nats.options import NatsOptions
from penstock_nats.producer import NatsProducer

if TYPE_CHECKING:
    from tests.servers.nats import NatsServer

    OwnNats = Callable[..., NatsServer]

PERMISSIONS = """
authorization {
  users = [
    { user: all, password: p }
    { user: some, password: p, permissions: { publish: { allow: ["$JS.API.>", "_INBOX.>"] }, subscribe: ">" } }
  ]
}
"""


async def connect_and_close(connector: NatsConsumer | NatsProducer) -> None:
    try:
        await connector.connect()
    finally:
        await connector.shutdown()


def test_a_wrong_password_is_fatal(own_nats: OwnNats) -> None:
    """Trying again would not help; the password is not shown."""
    url = own_nats("--user", "u", "--pass", "right").url
    options = NatsOptions(servers=url, user="u", password="wr0ng-one")

    for connector in (NatsConsumer("q", options), NatsProducer("q", options)):
        with pytest.raises(FatalConnectorError, match=f"NATS at {url}: Authorization") as refused:
            asyncio.run(connect_and_close(connector))
        assert "wr0ng-one" not in str(refused.value)


def test_a_missing_permission_is_fatal(own_nats: OwnNats, tmp_path: Path) -> None:
    """NATS tells it only by the way, and answers nothing: it is heard, not waited for."""
    (tmp_path / "nats.conf").write_text(PERMISSIONS)
    url = own_nats("--config", str(tmp_path / "nats.conf")).url
    options = NatsOptions(servers=url, user="some", password="p", timeout=30)

    async def main() -> None:
        producer = NatsProducer("q", options)
        try:
            await producer.connect()
            await producer.produce([Record(b"x")])
        finally:
            await producer.shutdown()

    with pytest.raises(FatalConnectorError, match='publish to "q"'):
        asyncio.run(asyncio.wait_for(main(), 10))


def test_another_server_of_the_list_is_taken(nats_server: NatsServer) -> None:
    """Whichever is tried first."""
    options = NatsOptions(servers=f"nats://127.0.0.1:9,{nats_server.url}")

    for _time in range(4):
        asyncio.run(connect_and_close(NatsProducer(nats_server.queue(), options)))


def test_a_stream_that_is_not_ours_to_create_is_waited_for(nats_server: NatsServer) -> None:
    """Another program will create it, and the group."""
    name = nats_server.queue()
    options = NatsOptions(servers=nats_server.url, create=False)

    with pytest.raises(NotConnected, match="no stream holds subject"):
        asyncio.run(connect_and_close(NatsConsumer(name, options)))
    asyncio.run(connect_and_close(NatsProducer(name, NatsOptions(servers=nats_server.url))))
    with pytest.raises(NotConnected, match="no durable consumer 'penstock'"):
        asyncio.run(connect_and_close(NatsConsumer(name, options)))


def test_a_group_of_another_subject_is_fatal(nats_server: NatsServer) -> None:
    """Two subjects of one stream need two groups; messages of one must not go to the other."""
    name = nats_server.queue()
    options = NatsOptions(servers=nats_server.url, stream=name)

    async def main() -> None:
        import nats

        client = await nats.connect(nats_server.url)
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        await client.close()
        await connect_and_close(NatsConsumer(f"{name}.a", options))
        await connect_and_close(NatsConsumer(f"{name}.b", options))

    with pytest.raises(FatalConnectorError, match="choose another `group`"):
        asyncio.run(main())


def test_a_delay_is_refused_where_the_stream_has_no_schedules(nats_server: NatsServer) -> None:
    """Rather than delivered at once; its neighbour is stored."""
    name = nats_server.queue()

    async def main() -> list[ProduceError | None]:
        import nats

        client = await nats.connect(nats_server.url)
        await client.jetstream().add_stream(name=name, subjects=[name])
        await client.close()
        producer = NatsProducer(name, NatsOptions(servers=nats_server.url))
        await producer.connect()
        try:
            return list(await producer.produce([Record(b"later", delay=1.0), Record(b"now")]))
        finally:
            await producer.shutdown()

    later, now = asyncio.run(main())
    assert now is None
    assert later is not None
    assert not later.retriable
    assert "message schedules" in str(later)


def test_what_a_full_stream_refuses_may_be_taken_later(nats_server: NatsServer) -> None:
    """What is too large for it never will be."""
    name = nats_server.queue()

    async def main() -> list[ProduceError | None]:
        import nats
        from nats.js.api import DiscardPolicy

        client = await nats.connect(nats_server.url)
        await client.jetstream().add_stream(
            name=name, subjects=[name], max_msgs=1, max_msg_size=100, discard=DiscardPolicy.NEW
        )
        await client.close()
        producer = NatsProducer(name, NatsOptions(servers=nats_server.url))
        await producer.connect()
        try:
            return list(await producer.produce([Record(bytes(101)), Record(b"fits"), Record(b"no room")]))
        finally:
            await producer.shutdown()

    too_large, fits, no_room = asyncio.run(main())
    assert fits is None
    assert too_large is not None
    assert not too_large.retriable
    assert no_room is not None
    assert no_room.retriable
