"""What Azure's Storage Queues do that other backends do not, on Azurite."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.storage.queue.aio import QueueClient
from tests.servers.azurite import KEY, AzuriteServer

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import Record
from penstock_azure.storage_queue.consumer import StorageQueueConsumer

OTHER_KEY = "aHVudGVyMg=="


@pytest.fixture
def raw(azurite_server: AzuriteServer, storage: Any) -> Callable[[], QueueClient]:
    """`raw()` is Azure's own client on the queue of the test."""
    return lambda: QueueClient.from_connection_string(azurite_server.connection_string(), storage.queue)


def test_a_message_never_expires(storage: Any, raw: Any) -> None:
    """Azure's own default is seven days, after which a message is gone without a trace."""

    async def main() -> None:
        async with storage.producer() as producer, raw() as client:
            await producer.produce([Record(b"keep me")])
            (seen,) = await client.peek_messages()
            assert seen.expires_on > datetime.now(UTC) + timedelta(days=3650)

    asyncio.run(main())


def test_a_message_of_another_program_comes_as_it_is(storage: Any, raw: Any, consumed: Any) -> None:
    """Plain text that is not Base64, and, with `encoding: text`, also text that is."""

    async def main() -> None:
        async with storage.consumer() as consumer, raw() as client:
            await client.send_message("a <plain> text")
            (message,) = await consumed(consumer, 1)
            assert message.message == b"a <plain> text"
            await consumer.on_success([message])
        async with storage.consumer(encoding="text") as consumer, raw() as client:
            await client.send_message("dGV4dA==")
            (message,) = await consumed(consumer, 1)
            assert message.message == b"dGV4dA=="

    asyncio.run(main())


def test_an_extension_and_a_settlement_at_the_same_time_do_not_lose_the_message(storage: Any, consumed: Any) -> None:
    """An extension gives the message another receipt, with which alone it can be deleted."""

    async def main() -> None:
        async with storage.producer() as producer, storage.consumer() as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(20)])
            held = await consumed(consumer, 20)
            before = [message.receipt for message in held]
            late = await asyncio.gather(consumer.extend(held), consumer.on_success(held[:10]), consumer.extend(held))
            assert late[1] == 0
            assert all(message.receipt != old for message, old in zip(held[10:], before[10:], strict=True))
            assert await consumer.on_success(held[10:]) == 0
            assert (await consumer.lag(), consumer.lost_leases) == (0, 0)

    asyncio.run(main())


def test_a_settlement_with_an_old_receipt_leaves_the_message_to_its_new_owner(storage: Any, consumed: Any) -> None:
    """It is counted as late, be it a deletion, a requeue or an extension."""

    async def main() -> None:
        async with storage.producer() as producer, storage.consumer() as consumer, storage.consumer() as other:
            await producer.produce([Record(b"x")])
            async with storage.consumer(visibility_timeout=1) as slow:
                (first,) = await consumed(slow, 1)
                (second,) = await consumed(consumer, 1)
                assert second.attempts == 2
                await slow.extend([first])
                assert await slow.on_success([first]) == 1
            assert await other.consume(1, 0.0) == []
            assert await consumer.on_success([second]) == 0

    asyncio.run(main())


def test_connecting_again_disturbs_no_call_that_is_under_way(storage: Any, consumed: Any) -> None:
    """The engine connects again when one call has failed, and others may be on their way."""

    async def main() -> None:
        async with storage.producer() as producer, storage.consumer() as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(20)])
            held = await consumed(consumer, 20)
            calls = [consumer.on_success(held), consumer.consume(1, 1.0), consumer.connect(), consumer.connect()]
            late, *_others = await asyncio.gather(*calls)
            assert late == 0
            sent = producer.produce([Record(b"x")] * 20)
            assert (await asyncio.gather(sent, producer.connect()))[0] == [None] * 20

    asyncio.run(main())


def test_a_slow_server_ends_no_lease(azurite_server: AzuriteServer, proxy: Any, storage: Any, consumed: Any) -> None:
    """40 ms a round trip, twenty messages settled at the same time, extensions beside them: none is late."""
    wire = proxy(azurite_server.host, azurite_server.port)
    where = {"connection_string": azurite_server.connection_string(wire.port), "visibility_timeout": 5}

    async def main() -> None:
        async with storage.producer() as producer, storage.consumer(**where) as consumer:
            await producer.produce([Record(b"%d" % number) for number in range(60)])
            wire.delay(0.02)
            held = await consumed(consumer, 60)
            room = asyncio.Semaphore(20)

            async def settle(message: Any) -> int:
                async with room:
                    await asyncio.sleep(0.1)
                    return int(await consumer.on_success([message]) or 0)

            async def keep() -> None:
                while True:
                    await asyncio.sleep(0.5)
                    await consumer.extend(held)

            extending = asyncio.create_task(keep())
            late = await asyncio.gather(*(settle(message) for message in held))
            extending.cancel()
            with suppress(asyncio.CancelledError):
                await extending
            assert (sum(late), consumer.lost_leases) == (0, 0)

    asyncio.run(main())


def test_what_was_confirmed_survives_a_restart_of_the_server(own_azurite: Any, storage: Any, consumed: Any) -> None:
    """SIGTERM and a start; Azurite writes to disk every few seconds only, so a kill would take some back."""
    server = own_azurite()
    where = {"connection_string": server.connection_string()}

    async def main() -> None:
        async with storage.producer(**where) as producer, storage.consumer(**where) as consumer:
            await producer.produce([Record(b"a"), Record(b"b")])
            (message,) = await consumed(consumer, 1)
            server.restart()
            with suppress(NotConnected):
                await consumer.lag()
            await consumer.connect()
            assert await consumer.on_success([message]) == 0
            (other,) = await consumed(consumer, 1)
            assert {message.message, other.message} == {b"a", b"b"}

    asyncio.run(main())


def refusal(storage: Any, kind: type[ConnectorError], **options: Any) -> str:
    """What a consumer says that cannot connect."""

    async def main() -> None:
        consumer = StorageQueueConsumer(storage.queue, storage.options(**options))
        try:
            await consumer.connect()
        finally:
            await consumer.shutdown()

    with pytest.raises(kind) as refused:
        asyncio.run(main())
    assert type(refused.value) is kind
    for key in (KEY, OTHER_KEY):
        assert key[:-2] not in str(refused.value)
    return str(refused.value)


def test_a_wrong_key_is_fatal_and_names_the_option(azurite_server: AzuriteServer, storage: Any) -> None:
    """Trying again would not help; no key is shown."""
    text = refusal(storage, FatalConnectorError, connection_string=azurite_server.connection_string(key=OTHER_KEY))

    assert "check `connection_string`" in text
    assert "AZURE_STORAGE_CONNECTION_STRING" in text


def test_a_queue_that_is_missing_is_waited_for(storage: Any) -> None:
    """Somebody may create it; the error says what to do."""

    async def main() -> None:
        with pytest.raises(NotConnected, match="create the queue, or set `create: true`"):
            async with storage.consumer(create=False):
                pass

    asyncio.run(main())


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path, Path]:
    """An authority, its file, and the file of another one."""
    folder = tmp_path_factory.mktemp("tls")
    trusted, other = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(str(folder / "trusted.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    return trusted, folder / "trusted.pem", folder / "other.pem"


@pytest.mark.parametrize(
    ("host", "expired", "trust", "problem"),
    [
        ("127.0.0.1", False, "trusted", ""),
        ("127.0.0.1", False, "other", "tls.ca"),
        ("127.0.0.1", False, None, "tls.ca"),
        ("elsewhere.example", False, "trusted", "write that name as the host"),
        ("127.0.0.1", True, "trusted", "has expired"),
    ],
    ids=["right", "another authority", "the system's authorities", "another name", "expired"],
)
def test_the_server_s_certificate_is_verified(
    azurite_server: AzuriteServer, storage: Any, authorities: Any, tls_front: Any,
    host: str, expired: bool, trust: str | None, problem: str,
) -> None:  # fmt: skip
    """An error says what is wrong with it, and which option to look at."""
    authority, trusted, other = authorities
    until = datetime.now(UTC) - timedelta(days=1) if expired else None
    port = tls_front(authority.issue_cert(host, not_after=until), azurite_server.port)
    options = {
        "connection_string": azurite_server.connection_string(port).replace("http:", "https:"),
        "tls": {"ca": str({"trusted": trusted, "other": other}[trust])} if trust else {},
    }
    if problem:
        assert problem in refusal(storage, NotConnected, **options)
        return

    async def main() -> None:
        async with storage.producer(**options) as producer:
            assert await producer.produce([Record(b"private")] * 3) == [None] * 3

    asyncio.run(main())
