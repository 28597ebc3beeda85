"""Ports that speak TLS in front of servers that do not."""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress

STEP = 10.0  # seconds for a step of the front's own


class TlsFront:
    """Passes what clients send by TLS to another port, decrypted, and the answers back; on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tls-front", daemon=True)
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread.start()

    def listen(self, context: ssl.SSLContext, host: str, port: int) -> int:
        """A new port of 127.0.0.1, with the certificate of `context`, in front of `host`:`port`."""
        return asyncio.run_coroutine_threadsafe(self._listen(context, host, port), self._loop).result(STEP)

    def close(self) -> None:
        """End all ports and connections, and wait until they have ended."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(STEP)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STEP)
        self._loop.close()

    async def _listen(self, context: ssl.SSLContext, host: str, port: int) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            try:
                far_reader, far_writer = await asyncio.open_connection(host, port)
                self._writers.add(far_writer)
                await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
                await asyncio.gather(writer.wait_closed(), far_writer.wait_closed(), return_exceptions=True)
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        self._servers.append(server)
        found: int = server.sockets[0].getsockname()[1]
        return found

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()  # a client that has gone would answer no farewell
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # one side is gone; the other is closed below
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
