"""One queue's connection: scripts run on it, errors leave it as Penstock's."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import redis.asyncio
from redis.exceptions import NoScriptError

from penstock.client_slot import ClientSlot
from penstock.errors import ConfigError, NotConnected
from penstock_rsmq.errors import ERRORS, Moved
from penstock_rsmq.keys import QueueKeys, name_problem
from penstock_rsmq.management import Node, QueueAttributes, make_client, prepare_queue
from penstock_rsmq.options import RsmqOptions
from penstock_rsmq.scripts import Script

_MAX_HOPS = 5  # from node to node of a cluster in one `connect`; more is a cluster that disagrees with itself

log = logging.getLogger("penstock.rsmq")


class RsmqClient:
    """Runs scripts on one queue. Calls may overlap; each takes a connection of the pool.

    redis-py's asynchronous client, not the blocking one: with answers packed into one string it needs 0.1 µs of CPU a
    message more at batches of 500, and saves the hop to a thread and back that every call would pay, some 45 µs each.
    """

    def __init__(self, name: str, options: RsmqOptions) -> None:
        if problem := name_problem(name):
            raise ConfigError(problem)
        self._name = name
        self._options = options
        keys = QueueKeys(options.ns, name)
        self._keys = (3, keys.messages, keys.attributes, keys.marks)
        self._client = ClientSlot[redis.asyncio.Redis](f"queue {name!r}")
        self._node: Node | None = None
        self._warned = False

    @property
    def address(self) -> str:
        """The server, for people."""
        return self._options.address if self._node is None else f"{self._node[0]}:{self._node[1]}"

    async def connect(self) -> QueueAttributes:
        """Find the server and the queue, create it if asked; may be called again at any time.

        Raises:
            NotConnected: not now.
            FatalConnectorError: not with these options.
        """
        before = self._node
        attributes = await self._find_queue()
        if self._client.is_open and self._node == before:
            # An idle connection may be dead, or lead to a server that is not the master behind this name any more.
            await self._client.get().connection_pool.disconnect(inuse_connections=False)
        else:
            await self._disconnect()
            self._client.put(make_client(redis.asyncio.Redis, self._options, self._node))
        if not self._warned:
            self._warned = True
            for warning in attributes.warnings:
                log.warning("queue %s: %s", self._name, warning)
        return attributes

    async def _find_queue(self) -> QueueAttributes:
        for _hop in range(_MAX_HOPS):
            try:
                # PyRSMQ blocks; it works once a connection, on a thread that is not kept.
                return await asyncio.to_thread(prepare_queue, self._name, self._options, self._node, self.address)
            except Moved as moved:
                self._follow(moved)
            except NotConnected:
                self._node = None  # that node is gone; the configured one knows where the queue went
                raise
        self._node = None
        raise NotConnected(f"Redis at {self.address}: the nodes of the cluster redirect to each other")

    def _follow(self, moved: Moved) -> None:
        here = self._options.address.rpartition(":")[0] if self._node is None else self._node[0]
        host, port = moved.node
        self._node = (host or here, port)

    async def run(self, script: Script, *arguments: str | bytes | int) -> Any:
        """Run a script with the queue's keys.

        Returns:
            What the script returns; strings are bytes.

        Raises:
            NotConnected: the server is away, or did not answer: then the script may have run.
            TemporarilyRefused: the server cannot write now; the script did nothing.
            FatalConnectorError: it rejects these options.
            ConnectorError: any other error of the server, or `close` was called.
        """
        client = self._client.get()
        try:
            with ERRORS.translating(self.address):
                try:
                    return await client.evalsha(script.digest, *self._keys, *arguments)
                except NoScriptError:
                    # A restart, a failover or SCRIPT FLUSH; the text brings it back.
                    return await client.eval(script.text, *self._keys, *arguments)
        except Moved as moved:
            self._follow(moved)
            await self._disconnect()
            raise

    async def close(self) -> None:
        """Close every connection."""
        await self._disconnect()
        self._client.close()

    async def _disconnect(self) -> None:
        if (client := self._client.take()) is not None:
            await client.aclose()
