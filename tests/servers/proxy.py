"""A TCP proxy on a real socket, with a hand on the wire: cut it, swallow what travels, slow it down."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

# Linger on, for 0 seconds: closing sends RST instead of FIN and drops what is buffered.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on `host`:`port`, passes everything to `target` and back. All methods may be called from any thread.

    Args:
        host, port: The server behind it, called anew for each connection; a test may set `target` to another one.
        listen: The port to listen on; 0 takes a free one.
    """

    def __init__(self, host: str, port: int, listen: int = 0) -> None:
        self.target = (host, port)
        self.host = "127.0.0.1"
        self.port = listen
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._ends: set[_End] = set()
        self._latency = 0.0
        self._requests_vanish = False
        self._replies_vanish = False
        self._thread.start()
        self._do(self._listen())

    @property
    def connections(self) -> int:
        """How many clients are connected at this moment."""
        return sum(end.faces_client for end in list(self._ends))

    def cut(self) -> None:
        """Reset every connection and refuse new ones, until `heal`."""
        self._do(self._cut())

    def reset(self) -> None:
        """Reset every connection; new ones are welcome at once."""
        self._do(self._reset(list(self._ends)))

    def half_open(self) -> None:
        """Reset the server's side only. Clients get no reset and no more data; new connections work."""
        self._do(self._half_open())

    def blackhole(self) -> None:
        """Go on accepting, swallow every byte of both ways, until `heal`."""
        self._do(self._set(requests_vanish=True, replies_vanish=True))

    def swallow_replies(self) -> None:
        """Pass requests on and drop the answers until `heal`: requests are carried out, and clients never learn it."""
        self._do(self._set(replies_vanish=True))

    def delay(self, seconds: float) -> None:
        """Hold every byte for so long, each way; a round trip takes twice that. Order and throughput stay."""
        self._do(self._set(latency=seconds))

    def heal(self) -> None:
        """Be a plain proxy again. Connections that lost bytes on the way are reset, the others go on."""
        self._do(self._heal())

    def close(self) -> None:
        """Reset what is open and end the thread."""
        if self._loop.is_closed():
            return
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await self._loop.create_server(lambda: _End(self, None), self.host, self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._reset(list(self._ends))

    async def _half_open(self) -> None:
        for end in [end for end in self._ends if end.faces_client]:
            end.deafen()

    async def _set(self, latency: float = 0.0, requests_vanish: bool = False, replies_vanish: bool = False) -> None:
        self._latency, self._requests_vanish, self._replies_vanish = latency, requests_vanish, replies_vanish

    async def _heal(self) -> None:
        await self._set()
        await self._reset([end for end in self._ends if end.lost_bytes])
        await self._listen()

    async def _reset(self, ends: list[_End]) -> None:
        for end in ends:
            end.reset()
        while any(end in self._ends for end in ends):
            await asyncio.sleep(0.001)

    def vanishes(self, from_client: bool) -> bool:
        return self._requests_vanish if from_client else self._replies_vanish


class _End(asyncio.Protocol):
    """One socket of a pair; what it reads is written by its twin."""

    def __init__(self, proxy: Proxy, twin: _End | None) -> None:
        self.faces_client = twin is None
        self.lost_bytes = False
        self.deaf = False
        self._proxy = proxy
        self._twin = twin
        self._held: deque[tuple[float, bytes]] = deque()  # (when due, what to write; nothing means close)
        self._dialling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._proxy._ends.add(self)
        # A black hole needs no server behind it.
        if self.faces_client and not self._proxy._requests_vanish:
            transport.pause_reading()
            self._dialling = asyncio.ensure_future(self._dial())

    async def _dial(self) -> None:
        try:
            twin = _End(self._proxy, self)
            await self._proxy._loop.create_connection(lambda: twin, *self._proxy.target)
        except OSError:
            self.reset()  # no server listens; a direct connection would be reset as well
            return
        self._twin = twin
        if self._transport.is_closing():
            twin.reset()
        else:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        if self._twin is None or self._proxy.vanishes(self.faces_client):
            self.lost_bytes = True
        else:
            self._twin.write(data)

    def write(self, data: bytes) -> None:
        """Write now, or when the latency is over and everything before it is written."""
        if self._proxy._latency == 0 and not self._held:
            self._put(data)
            return
        due = self._proxy._loop.time() + self._proxy._latency
        if self._held:
            due = max(due, self._held[-1][0])
        self._held.append((due, data))
        self._proxy._loop.call_at(due, self._release)

    def _release(self) -> None:
        # One timer a piece; which of two timers due together fires first does not matter, the first piece goes.
        self._put(self._held.popleft()[1])

    def _put(self, data: bytes) -> None:
        if data:
            self._transport.write(data)
        else:
            self._transport.close()

    def pause_writing(self) -> None:
        if self._twin is not None and not self._twin._transport.is_closing():
            self._twin._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._twin is not None and not self._twin._transport.is_closing():
            self._twin._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy._ends.discard(self)
        if self._twin is None or self._twin._transport.is_closing():
            return
        if error is None:
            self._twin.write(b"")
        else:
            self._twin.reset()

    def deafen(self) -> None:
        """Lose the twin without a word: what comes from now on is swallowed."""
        twin, self._twin, self.deaf = self._twin, None, True
        if self._dialling is not None:
            self._dialling.cancel()
        if twin is not None:
            twin._twin = None
            twin.reset()

    def reset(self) -> None:
        peer: socket.socket | None = self._transport.get_extra_info("socket")
        if peer is not None and peer.fileno() >= 0:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """`proxy(host, port)` puts a `Proxy` before a server; all are closed when the test ends."""
    made: list[Proxy] = []

    def make(host: str, port: int, listen: int = 0) -> Proxy:
        made.append(Proxy(host, port, listen))
        return made[-1]

    yield make
    for one in made:
        one.close()
