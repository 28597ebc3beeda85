"""A real server whose answers a test writes down, and which remembers what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = Callable[[Asked], Awaitable[web.StreamResponse]]


@dataclass
class Scripted:
    """The server: its URL, and the requests that came (those of `HEAD` left out)."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)


@asynccontextmanager
async def scripted(*answers: int | web.Response | Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Serve answers in their order, the last one again and again: statuses, responses, or functions of the request."""
    server, script = Scripted(), list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response()
        asked = Asked(request.method, request.path_qs, request.headers, await request.read())
        server.asked.append(asked)
        following = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(following, int):
            return web.Response(status=following)
        if isinstance(following, web.Response):
            again = web.Response(status=following.status, body=following.body)
            again.headers.update(following.headers)
            return again
        return await following(asked)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"{'https' if tls else 'http'}://{'localhost' if tls else host}:{port}/events"
    try:
        yield server
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
