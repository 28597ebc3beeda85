"""One queue's connection to Redis: opened, asked, warned about, closed; it raises Penstock's errors."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from time import time
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import MovedError, NoScriptError, ResponseError
from redis.exceptions import TimeoutError as NoAnswer

from penstock.client_slot import ClientSlot
from penstock.errors import FatalConnectorError, NotConnected
from penstock.probes import Probed, clock_answer
from penstock_redis.errors import ERRORS
from penstock_redis.options import RedisOptions

MAX_MESSAGES = 500  # of one call; more would block the server, and every other client, for more than some 3 ms
MAX_BYTES = 8 * 2**20  # of bodies in one call, for the same reason
MAX_HOPS = 5  # from node to node of a cluster in one call; more is a cluster that disagrees with itself

log = logging.getLogger("penstock.redis")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the digest by which the server knows it, once it has seen it."""

    text: str = field(repr=False)
    digest: str

    @classmethod
    def load(cls, *names: str) -> Script:
        """Read `lua/<name>.lua` out of the package; several go one after the other."""
        text = "\n".join((files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8") for name in names)
        return cls(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


class Connection:
    """A redis-py client for one queue. Calls may overlap; each takes a connection of the pool.

    Args:
        name: The queue's name in Redis.
        options: Where the server is.
        keys: What each script gets as its keys.
    """

    def __init__(self, name: str, options: RedisOptions, keys: Sequence[str] = ()) -> None:
        self.name = name
        self._options = options
        self._keys = (name, *keys)
        self._client = ClientSlot[Redis](f"queue {name!r}")
        self._node: tuple[str, int] | None = None  # of a Redis Cluster: the one that has the queue
        self._looked = False

    async def open(self) -> Redis:
        """The client. Idle connections are closed: they may be dead, or lead to a server that was master once."""
        if self._client.is_open:
            await self._client.get().connection_pool.disconnect(inuse_connections=False)
        else:
            self._client.put(make_client(self._options, self._node))
        return self._client.get()

    async def run(self, script: Script, *arguments: str | bytes | int) -> Any:
        """Run a script with the queue's keys; strings of its answer are bytes."""

        async def call(client: Redis) -> Any:
            try:
                return await client.evalsha(script.digest, len(self._keys), *self._keys, *arguments)
            except NoScriptError:
                # A restart, a failover or SCRIPT FLUSH; the text brings it back.
                return await client.eval(script.text, len(self._keys), *self._keys, *arguments)

        return await self._on_its_node(call)

    async def command(self, *words: str | bytes | int) -> Any:
        """One command; the answer is as the server gave it."""
        return await self._on_its_node(lambda client: client.execute_command(*words))  # type: ignore[no-untyped-call]

    async def pipeline(self, commands: Sequence[Sequence[str | bytes | int]]) -> list[Any]:
        """Several commands in one round trip. An answer that is an error stands in its place, translated."""

        async def call(client: Redis) -> list[Any]:
            async with client.pipeline(transaction=False) as pipe:
                for words in commands:
                    pipe.execute_command(*words)
                answers: list[Any] = await pipe.execute(raise_on_error=False)
            if answers and all(isinstance(each, MovedError) for each in answers):
                raise answers[0]
            return answers

        answers, address = await self._on_its_node(call), self._options.address
        return [ERRORS.translate(each, address) if isinstance(each, Exception) else each for each in answers]

    async def _on_its_node(self, call: Callable[[Redis], Awaitable[T]]) -> T:
        """What `call` returns on the node of a Redis Cluster that has the queue; what is redirected was not done."""
        with ERRORS.translating(self._options.address):
            for _hop in range(MAX_HOPS):
                client = self._client.get()
                try:
                    return await call(client)
                except MovedError as moved:
                    await self._go_to((moved.host or self._node_of(client), moved.port), client)
                except (OSError, ConnectionLost, NoAnswer):
                    await self._go_to(None, client)  # the configured node knows where the queue went
                    raise
        raise NotConnected(f"Redis at {self._options.address}: the nodes of the cluster redirect to each other")

    @staticmethod
    def _node_of(client: Redis) -> str:
        return str(client.connection_pool.connection_kwargs["host"])

    async def _go_to(self, node: tuple[str, int] | None, left: Redis) -> None:
        # Another call may have gone there already.
        if node == self._node or not self._client.is_open or self._client.get() is not left:
            return
        self._node = node
        self._client.take()
        self._client.put(make_client(self._options, node))
        await left.aclose()

    async def warn_once(self) -> None:
        """Warn of settings with which the server may lose the queue."""
        if self._looked:
            return
        self._looked = True
        client = self._client.get()
        with ERRORS.translating(self._options.address):
            try:
                settings = await client.config_get("appendonly") | await client.config_get("maxmemory-policy")
            except ResponseError:
                return  # not permitted, or renamed, as with many hosted servers: nothing can be said
        warnings = []
        if settings.get("appendonly") == "no":
            warnings.append("appendonly off: if it crashes, its queues are lost")
        if (policy := settings.get("maxmemory-policy", "noeviction")) != "noeviction":
            warnings.append(f"maxmemory-policy {policy}: when memory is full, it may delete a queue")
        for warning in warnings:
            log.warning("queue %s: Redis at %s has %s", self.name, self._options.address, warning)

    async def probe(self) -> list[Probed]:
        """Whether the server answers, and what time it has."""
        client = await self.open()
        with ERRORS.translating(self._options.address):
            await client.ping()
            answers = [Probed("reachable", True, f"Redis at {self._options.address} answers")]
            before = time()
            try:
                seconds, microseconds = await client.time()
            except ResponseError:
                return [*answers, Probed("clock", None, "this user may not ask for the server's time")]
        return [*answers, clock_answer(seconds + microseconds / 1e6, before, time())]

    async def close(self) -> None:
        """Close every connection for good."""
        if (client := self._client.take()) is not None:
            await client.aclose()
        self._client.close()


def beside(name: str, *kinds: str) -> list[str]:
    """Penstock's own keys beside a queue's, in the same slot of a cluster."""
    tagged = name if "{" in name else f"{{{name}}}"
    return [f"{tagged}:penstock:{kind}" for kind in kinds]


def make_client(options: RedisOptions, node: tuple[str, int] | None = None) -> Redis:
    """A redis-py client, which connects on first use: to `node` of a cluster, if it is given."""
    arguments = {
        **options.client_arguments(),
        "socket_timeout": options.timeout,
        "socket_connect_timeout": options.timeout,
        "socket_keepalive": True,
        "protocol": 2,  # the same shapes of answers on each version
        # By default redis-py repeats a command that timed out, ten times and in silence: a read that was answered into
        # a dead connection, or an entry that is stored twice.
        "retry": Retry(NoBackoff(), 0),
    }
    try:
        client = (
            Redis(**arguments) if options.url is None else Redis.from_url(options.url.get_secret_value(), **arguments)
        )
    except (ValueError, TypeError):
        # Not chained: the parser's text may quote the URL.
        raise FatalConnectorError(
            f"Redis at {options.address}: redis-py does not accept the URL; check what stands after '?'"
        ) from None
    if node is not None:
        client.connection_pool.connection_kwargs.update(host=node[0], port=node[1])
    for command in ("XREADGROUP", "XPENDING", "XADD"):
        # redis-py makes dicts of fields, which may repeat.
        client.set_response_callback(command, _as_it_is)  # type: ignore[arg-type]  # it may be any callable
    return client


def _as_it_is(answer: Any, **_options: Any) -> Any:
    return answer
