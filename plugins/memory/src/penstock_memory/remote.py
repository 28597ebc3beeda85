"""The two sides of a queue that lives in a broker: the methods of `local`, by requests on one connection each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.message import BrowsedMessage, QueueMessage, Record
from penstock_memory import wire
from penstock_memory.address import Address
from penstock_memory.launch import check_owner, launch
from penstock_memory.options import MemoryOptions
from penstock_memory.wire import Header, WireError

CONNECT_TIMEOUT = 15.0
"""Seconds to find a broker or to start one."""

ANSWER_TIMEOUT = 10.0
"""Seconds beyond a request's own waiting time after which a broker that is silent counts as gone."""

CLOSE_TIMEOUT = 3.0
"""Seconds that a shutdown waits for the broker's word; the closed connection says the same."""


class Connection:
    """Requests and answers over one socket. All methods are called on the loop that opened it."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._address = address
        self._reader = reader
        self._writer = writer
        self._last_id = 0
        self._waiting: dict[int, asyncio.Future[tuple[Header, bytes]]] = {}
        self._lost: ConnectorError | None = None
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def open(cls, options: MemoryOptions, hello: Header) -> Connection:
        """Connect, after starting a broker if there is none.

        Args:
            options: Of the queue, with a `url`.
            hello: What to open, for the broker.

        Raises:
            NotConnected: there is no broker, and none could be started in time.
            FatalConnectorError: there can be none at this address.
        """
        address = Address.parse(options.url or "")
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while True:
            # A broker may end just now, or another process may be starting one: look again until one of them answers.
            try:
                return await cls._try_to_open(address, hello)
            except (FileNotFoundError, ConnectionError, NotConnected) as error:
                if time.monotonic() > deadline:
                    raise NotConnected(f"no broker answers at {address.url}: {error}") from error
            except OSError as error:
                raise FatalConnectorError(f"cannot connect to {address.url}: {error.strerror or error}") from error
            if not await launch(address, options.linger, options.keep):
                await asyncio.sleep(0.05)

    @classmethod
    async def _try_to_open(cls, address: Address, hello: Header) -> Connection:
        if address.path:
            check_owner(address)
            streams = await asyncio.open_unix_connection(address.path)
        else:
            streams = await asyncio.open_connection(address.host, address.port)
        connection = cls(address, *streams)
        try:
            await connection.request({"op": "open", "protocol": wire.PROTOCOL, **hello})
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def lost(self) -> bool:
        """Whether it can never answer again."""
        return self._lost is not None

    async def request(self, header: Header, bodies: Sequence[bytes] = (), waits: float = 0.0) -> tuple[Header, bytes]:
        """Ask, and wait for the answer.

        Args:
            header: `op` and its arguments.
            bodies: What follows the header.
            waits: Seconds that the broker itself may wait before it answers.

        Raises:
            NotConnected: the connection is lost, or the broker silent.
            FatalConnectorError: the broker refuses.
        """
        if self._lost is not None:
            raise type(self._lost)(str(self._lost))
        self._last_id += 1
        header["id"] = number = self._last_id
        answer: asyncio.Future[tuple[Header, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(waits + ANSWER_TIMEOUT):
                self._writer.write(wire.encode(header, bodies))
                # Also when the peer is gone: the listener then says so, with the reason.
                with suppress(OSError):
                    await self._writer.drain()
                result, payload = await answer
        except TimeoutError:
            silent = f"the broker at {self._address.url} did not answer within {waits + ANSWER_TIMEOUT:g} s"
            self._lose(NotConnected(silent))
            raise NotConnected(silent) from None
        except asyncio.CancelledError:
            # What the answer brings would belong to nobody; closed, the broker gives it back.
            self._lose(NotConnected(f"a request to the broker at {self._address.url} was cancelled"))
            raise
        finally:
            self._waiting.pop(number, None)
        if "error" in result:
            raise FatalConnectorError(f"the broker at {self._address.url} refuses: {result['error']}")
        return result, payload

    async def close(self) -> None:
        """Close the socket. Whoever waits for an answer gets `NotConnected`."""
        self._lose(NotConnected(f"the connection to {self._address.url} is closed"))
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _listen(self) -> None:
        try:
            while True:
                header, payload = await wire.read(self._reader)
                answer = self._waiting.get(header["id"])
                if answer is not None and not answer.done():
                    answer.set_result((header, payload))
        except EOFError:
            self._lose(NotConnected(f"the broker at {self._address.url} has closed the connection"))
        except OSError as error:
            self._lose(NotConnected(f"the connection to {self._address.url} broke: {error}"))
        except WireError as error:
            self._lose(FatalConnectorError(f"{self._address.url}: {error}"))

    def _lose(self, why: ConnectorError) -> None:
        if self._lost is None:
            self._lost = why
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(type(why)(str(why)))
        self._writer.close()


class RemoteInbox:
    """The consumer's side of a queue in a broker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, name: str, options: MemoryOptions) -> RemoteInbox:
        """Connect to the queue `name`. Raises as `Connection.open`."""
        hello = {"role": "consumer", "namespace": options.namespace, "queue": name, "vt": options.vt}
        return cls(await Connection.open(options, hello))

    @property
    def lost(self) -> bool:
        """Whether the broker has given back what this side held."""
        return self._connection.lost

    async def receive(self, max_messages: int, timeout: float) -> list[QueueMessage]:
        """See `LocalInbox.receive`; the broker waits."""
        request = {"op": "receive", "max": max_messages, "timeout": timeout}
        answer, payload = await self._connection.request(request, waits=timeout)
        return wire.unpack_messages(answer["rows"], payload)

    async def settle(self, tokens: Sequence[int]) -> int:
        """See `Holder.settle`."""
        return await self._late({"op": "settle", "tokens": tokens})

    async def give_back(self, tokens: Sequence[int], delay: float) -> int:
        """See `Holder.give_back`."""
        return await self._late({"op": "give_back", "tokens": tokens, "delay": delay})

    async def extend(self, tokens: Sequence[int]) -> int:
        """See `Holder.extend`."""
        return await self._late({"op": "extend", "tokens": tokens})

    async def record(self, tokens: Sequence[int], calls: Sequence[int]) -> None:
        """See `Holder.record`."""
        await self._connection.request({"op": "record", "tokens": tokens, "calls": calls})

    async def lag(self) -> int:
        """See `Queue.lag`."""
        answer, _payload = await self._connection.request({"op": "lag"})
        return int(answer["lag"])

    async def browse(self, limit: int, after: int) -> list[BrowsedMessage]:
        """See `Queue.browse`."""
        answer, payload = await self._connection.request({"op": "browse", "limit": limit, "after": after})
        return [
            BrowsedMessage(
                each.message,
                each.position,
                key=each.key,
                headers=each.headers,
                timestamp=each.timestamp,
                attempts=each.attempts,
                state=state,
            )
            for each, state in zip(wire.unpack_messages(answer["rows"], payload), answer["states"], strict=True)
        ]

    async def close(self) -> None:
        """Give back what is unsettled, and close the connection."""
        # Asked for, so that it is done when this returns; if nobody answers, the closed connection does it.
        with suppress(ConnectorError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.request({"op": "close"})
        await self._connection.close()

    async def _late(self, request: dict[str, Any]) -> int:
        answer, _payload = await self._connection.request(request)
        return int(answer["late"])


class RemoteOutbox:
    """The producer's side of a queue in a broker."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, name: str, options: MemoryOptions) -> RemoteOutbox:
        """Connect to the queue `name`. Raises as `Connection.open`."""
        hello = {"role": "producer", "namespace": options.namespace, "queue": name, "max_length": options.max_length}
        return cls(await Connection.open(options, hello))

    @property
    def lost(self) -> bool:
        """Whether it must be opened anew."""
        return self._connection.lost

    async def append(self, records: Sequence[Record], patience: float) -> int:
        """See `LocalOutbox.append`."""
        stored = 0
        async with self._turn:
            for chunk in chunks(records):
                rows, bodies = wire.pack_records(chunk)
                request = {"op": "append", "rows": rows, "patience": patience}
                answer, _payload = await self._connection.request(request, bodies, waits=patience)
                stored += answer["stored"]
                if answer["stored"] < len(chunk):
                    break
        return stored

    async def close(self) -> None:
        """Close the connection; nothing is buffered."""
        await self._connection.close()


def chunks(records: Sequence[Record]) -> Sequence[Sequence[Record]]:
    """Cut a list into parts that a frame holds well."""
    parts: list[Sequence[Record]] = []
    start = size = 0
    for index, record in enumerate(records):
        size += len(record.message or b"") + len(record.key or b"")
        if record.headers:
            size += sum(len(name) + len(value or b"") for name, value in record.headers)
        if size >= wire.CHUNK or index - start >= wire.CHUNK_ROWS:
            parts.append(records[start : index + 1])
            start, size = index + 1, 0
    if start < len(records):
        parts.append(records[start:])
    return parts
