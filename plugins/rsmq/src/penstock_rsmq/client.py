"""One queue's connection: finds or creates the queue, runs scripts on it, raises Penstock's errors."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from time import time
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from penstock.client_slot import ClientSlot
from penstock.errors import ConfigError, ConnectorError, FatalConnectorError, NotConnected
from penstock.probes import Probed, clock_answer
from penstock_rsmq.errors import ERRORS, Moved
from penstock_rsmq.keys import QueueKeys, name_problem
from penstock_rsmq.options import RsmqOptions
from penstock_rsmq.scripts import PREPARE, Script

_MAX_HOPS = 5  # from node to node of a cluster in one `connect`; more is a cluster that disagrees with itself
_OWN_VT = 30  # seconds; RSMQ's default, for a queue that is created without a vt of ours

log = logging.getLogger("penstock.rsmq")

T = TypeVar("T")


class RsmqClient:
    """Runs scripts on one queue. Calls may overlap; each takes a connection of the pool.

    redis-py's asynchronous client, not the blocking one: with answers packed into one string it needs 0.1 µs of CPU a
    message more at batches of 500, and saves the hop to a thread and back that every call would pay, some 45 µs each.

    Attributes:
        created: Whether `connect` found no queue and created it.
    """

    def __init__(self, name: str, options: RsmqOptions) -> None:
        if problem := name_problem(name):
            raise ConfigError(problem)
        self.name = name
        self._options = options
        self._keys = QueueKeys(options.ns, name)
        self._script_keys = (self._keys.messages, self._keys.attributes, self._keys.marks)
        self._client = ClientSlot[Redis](f"queue {name!r}")
        self._node: tuple[str, int] | None = None  # of a Redis Cluster: the one that has the queue
        self._looked = False
        self.created = False

    @property
    def address(self) -> str:
        """The server as messages name it."""
        return self._options.address if self._node is None else f"{self._node[0]}:{self._node[1]}"

    async def connect(self) -> float:
        """Find the server and the queue, create it if asked; may be called again at any time.

        Returns:
            The queue's vt: seconds for which a received message is hidden, unless the receiver gives another time.

        Raises:
            NotConnected: not now.
            FatalConnectorError: not with these options.
        """
        return await self._on_its_node(self._prepare)

    async def probe(self) -> list[Probed]:
        """See `Consumer.probe`. Creates nothing."""
        return await self._on_its_node(self._ask)

    async def _ask(self) -> list[Probed]:
        answers = [Probed("reachable", True, f"Redis at {self.address} answers")]
        vt = await self.run(PREPARE)
        answers.append(Probed("authorised", True, "may run scripts"))
        if vt is None and not self._options.create:
            raise ConnectorError(self._no_queue())
        later = ": created when a worker starts"
        answers.append(Probed("exists", True, f"queue {self.name!r}{later if vt is None else ' exists'}"))
        client, before = self._client.get(), time()
        try:
            seconds, microseconds = await client.time()
        except RedisError:
            return [*answers, Probed("clock", None, "this user may not ask for the server's time")]
        return [*answers, clock_answer(seconds + microseconds / 1e6, before, time())]

    def _no_queue(self) -> str:
        return (
            f"Redis at {self.address}: namespace {self._options.ns!r} has no queue {self.name!r}; create it, or set "
            "`create: true`"
        )

    async def _on_its_node(self, call: Callable[[], Awaitable[T]]) -> T:
        """What `call` returns on the node that has the queue."""
        for _hop in range(_MAX_HOPS):
            if self._client.is_open:
                # An idle connection may be dead, or lead to a server that is not the master behind this name any more.
                await self._client.get().connection_pool.disconnect(inuse_connections=False)
            else:
                self._client.put(_make_client(self._options, self._node))
            try:
                return await call()
            except Moved:
                continue
            except NotConnected:
                await self._go_to(None)  # the configured node knows where the queue went
                raise
        await self._go_to(None)
        raise NotConnected(f"Redis at {self.address}: the nodes of the cluster redirect to each other")

    async def _go_to(self, node: tuple[str, int] | None) -> None:
        if node != self._node:
            self._node = node
            await self._disconnect()

    async def _prepare(self) -> float:
        vt = await self.run(PREPARE)
        if vt is None:
            if not self._options.create:
                raise FatalConnectorError(self._no_queue())
            delay = self._options.delay or 0
            # Whole seconds: rsmq for Node reads integers, and a vt of 0.5 would be none to it.
            own_vt = _OWN_VT if self._options.vt is None else math.ceil(self._options.vt)
            attributes = (own_vt, int(delay) if delay == int(delay) else str(delay), self._options.maxsize)
            self.created = True
            vt = await self.run(PREPARE, self.name, *attributes, also=[self._keys.names])
        await self._warn_once()
        try:
            return float(vt)
        except ValueError:
            raise FatalConnectorError(
                f"Redis at {self.address}: queue {self.name!r} has a vt of {vt!r}; no RSMQ client has created it"
            ) from None

    async def _warn_once(self) -> None:
        """Warn of settings with which the server may lose the queue."""
        if self._looked:
            return
        self._looked, client = True, self._client.get()
        with ERRORS.translating(self.address):
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
            log.warning("queue %s: Redis at %s has %s", self.name, self.address, warning)

    async def run(self, script: Script, *arguments: str | bytes | int, also: Sequence[str] = ()) -> Any:
        """Run a script with the queue's keys.

        Args:
            script: What to run.
            *arguments: Its arguments.
            also: Further keys.

        Returns:
            What the script returns; strings are bytes.

        Raises:
            NotConnected: the server is away, or did not answer: then the script may have run.
            TemporarilyRefused: the server cannot write now; the script did nothing.
            FatalConnectorError: it rejects these options.
            ConnectorError: any other error of the server, or `close` was called.
        """
        client = self._client.get()
        keys = (*self._script_keys, *also)
        try:
            with ERRORS.translating(self.address):
                try:
                    return await client.evalsha(script.digest, len(keys), *keys, *arguments)
                except NoScriptError:
                    # A restart, a failover or SCRIPT FLUSH; the text brings it back.
                    return await client.eval(script.text, len(keys), *keys, *arguments)
        except Moved as moved:
            host, port = moved.node
            await self._go_to((host or self.address.rpartition(":")[0], port))
            raise

    async def close(self) -> None:
        """Close every connection for good."""
        await self._disconnect()
        self._client.close()

    async def _disconnect(self) -> None:
        if (client := self._client.take()) is not None:
            await client.aclose()


def _make_client(options: RsmqOptions, node: tuple[str, int] | None) -> Redis:
    """Make a redis-py client, which connects on first use: to `node` of a cluster, if it is given."""
    # Never again on its own: whether a script that was sent twice ran twice is for the engine to know.
    arguments = {**options.client_arguments(), "retry": Retry(NoBackoff(), 0)}
    if options.url is None:
        client = Redis(**arguments)
    else:
        try:
            client = Redis.from_url(options.url.get_secret_value(), **arguments)
        except (ValueError, TypeError):
            # Not chained: the parser's text may quote the URL.
            raise FatalConnectorError(
                f"Redis at {options.address}: redis-py does not accept the URL; check what stands after '?'"
            ) from None
    if node is not None:
        client.connection_pool.connection_kwargs.update(host=node[0], port=node[1])
    return client
