"""The broker: the queues of one process, served to the others of its machine.

Each connection is the consumer or the producer of one queue. When a connection closes, for whatever reason, what it
held is visible to others at once: nobody waits for the leases of a worker that was killed. The broker ends by itself
when nobody needs it any more.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from penstock_memory import wire
from penstock_memory.local import LocalInbox, LocalOutbox
from penstock_memory.log import Queue
from penstock_memory.namespaces import Namespaces
from penstock_memory.wire import Header, WireError


class Broker:
    """Queues, and whoever is connected to them.

    Args:
        linger: Seconds until the end when nobody is connected and all queues are empty.
        keep: Seconds until the end when nobody is connected and messages are left.
    """

    def __init__(self, linger: float, keep: float) -> None:
        self._linger = linger
        self._keep = keep
        self._namespaces = Namespaces()
        self._clients: set[asyncio.StreamWriter] = set()
        self._came = asyncio.Event()
        self._left = asyncio.Event()
        self._stopped = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it closes."""
        self._clients.add(writer)
        self._came.set()
        session = Session(self._namespaces, writer)
        try:
            # Closed, broken, or not one of us: all the same to us, its messages go back.
            with suppress(EOFError, OSError, WireError):
                while True:
                    session.start(*await wire.read(reader))
        finally:
            await session.close()
            self._clients.discard(writer)
            self._left.set()

    async def until_unused(self) -> None:
        """Return, with nobody connected, when that has lasted as long as `linger` or `keep` says; or when stopped."""
        while not self._stopped:
            self._came.clear()
            self._left.clear()
            if self._clients:
                await self._left.wait()
                continue
            try:
                async with asyncio.timeout(self._keep if self._namespaces.depth() else self._linger):
                    await self._came.wait()
            except TimeoutError:
                if not self._clients:
                    return

    def stop(self) -> None:
        """Let `until_unused` return, whoever is connected and whatever is left."""
        self._stopped = True
        self._came.set()
        self._left.set()

    async def close(self) -> None:
        """Cut off whoever is connected."""
        for writer in self._clients:
            # Not close(): it would wait for a client that does not read.
            writer.transport.abort()
        while self._clients:
            self._left.clear()
            await self._left.wait()


class Session:
    """One connection: answers each request when it can, so that a settlement never waits for a `receive` that waits."""

    def __init__(self, namespaces: Namespaces, writer: asyncio.StreamWriter) -> None:
        self._namespaces = namespaces
        self._writer = writer
        self._requests: set[asyncio.Task[None]] = set()
        self._inbox: LocalInbox | None = None
        self._outbox: LocalOutbox | None = None

    def start(self, header: Header, payload: bytes) -> None:
        """Begin to answer a request. Requests begin in the order in which they came."""
        request = asyncio.create_task(self._answer(header, payload))
        self._requests.add(request)
        request.add_done_callback(self._requests.discard)

    async def close(self) -> None:
        """Give back what the client held, and close."""
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)
        # After the requests: one that was just receiving has its messages in the inbox by now.
        await self._close_inbox(died=True)
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def _answer(self, header: Header, payload: bytes) -> None:
        bodies: list[bytes] = []
        try:
            result = await self._do(header, payload, bodies)
        except Exception as error:  # noqa: BLE001  (the client raises it where the mistake was made)
            result = {"error": f"{type(error).__name__}: {error}"}
        result["id"] = header.get("id")
        # OSError: the client is gone, which `Broker.serve` learns by itself.
        with suppress(OSError):
            self._writer.write(wire.encode(result, bodies))
            await self._writer.drain()

    async def _do(self, header: Header, payload: bytes, bodies: list[bytes]) -> Header:
        op = header["op"]
        if op == "open":
            return await self._open(header)
        if op == "append" and self._outbox is not None:
            records = wire.unpack_records(header["rows"], payload)
            return {"stored": await self._outbox.append(records, header["patience"])}
        if op == "close":
            await self._close_inbox()
            return {}
        if self._inbox is not None:
            return await self._consume(self._inbox, op, header, bodies)
        raise WireError(f"this connection cannot {op!r}")

    async def _consume(self, inbox: LocalInbox, op: str, header: Header, bodies: list[bytes]) -> Header:
        if op == "receive":
            messages = await inbox.receive(min(header["max"], wire.CHUNK_ROWS), header["timeout"], wire.CHUNK)
            rows, parts = wire.pack_messages(messages)
            bodies.extend(parts)
            return {"rows": rows}
        if op == "settle":
            return {"late": await inbox.settle(header["tokens"])}
        if op == "give_back":
            return {"late": await inbox.give_back(header["tokens"], header["delay"])}
        if op == "extend":
            return {"late": await inbox.extend(header["tokens"])}
        if op == "record":
            await inbox.record(header["tokens"], header["calls"])
            return {}
        if op == "browse":
            browsed = await inbox.browse(min(header["limit"], wire.CHUNK_ROWS), header["after"], wire.CHUNK)
            rows, parts = wire.pack_messages(browsed)
            bodies.extend(parts)
            return {"rows": rows, "states": [message.state for message in browsed]}
        if op == "lag":
            return {"lag": await inbox.lag()}
        raise WireError(f"there is no {op!r}")

    async def _open(self, header: Header) -> Header:
        if header["protocol"] != wire.PROTOCOL:
            raise WireError(f"the broker speaks protocol {wire.PROTOCOL}, the client {header['protocol']}")
        queue: Queue = self._namespaces.queue(header["namespace"], header["queue"])
        if header["role"] == "consumer":
            self._inbox = LocalInbox(queue, header["vt"])
        else:
            self._outbox = LocalOutbox(queue, header["max_length"])
        return {}

    async def _close_inbox(self, died: bool = False) -> None:
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            await inbox.close(died)
