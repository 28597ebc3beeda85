"""The queue itself, through PyRSMQ: is it there, create it, what are its attributes; and will the server keep it."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TypeVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry
from rsmq import RedisSMQ
from rsmq.cmd.exceptions import QueueAlreadyExists, QueueDoesNotExist

from penstock.errors import FatalConnectorError
from penstock_rsmq.errors import ERRORS
from penstock_rsmq.options import RsmqOptions

Node = tuple[str, int]
"""Host and port of the Redis Cluster node that has the queue."""

Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)

_OWN_VT = 30  # seconds; RSMQ's default, for a queue that is created without a vt of ours


@dataclass(frozen=True, slots=True)
class QueueAttributes:
    """Attributes of the queue, and warnings about its server.

    Attributes:
        vt: Seconds for which a received message is hidden, unless the receiver gives another time.
        warnings: One sentence each: why this server may lose the queue.
    """

    vt: float
    warnings: tuple[str, ...]


def make_client(kind: type[Client], options: RsmqOptions, node: Node | None) -> Client:
    """A client of redis-py; it connects on first use.

    Args:
        kind: `redis.Redis` or `redis.asyncio.Redis`.
        options: Of the queue.
        node: Talk to this node of a cluster, with all other options as they are.
    """
    arguments = options.client_arguments()
    # Never again on its own: whether a script that was sent twice ran twice is for the engine to know.
    arguments["retry"] = AsyncRetry(NoBackoff(), 0) if kind is redis.asyncio.Redis else Retry(NoBackoff(), 0)
    client: Client
    if options.url is None:
        client = kind(**arguments)
    else:
        try:
            client = kind.from_url(options.url.get_secret_value(), **arguments)
        except (ValueError, TypeError):
            # Not chained: the parser's text may quote the URL.
            raise FatalConnectorError(
                f"Redis at {options.address}: redis-py does not accept the URL; check what stands after '?'"
            ) from None
    if node is not None:
        client.connection_pool.connection_kwargs.update(host=node[0], port=node[1])
    return client


def prepare_queue(name: str, options: RsmqOptions, node: Node | None, address: str) -> QueueAttributes:
    """Connect, find or create the queue, and read its attributes. Blocks.

    Raises:
        NotConnected: the server is away or cannot write now.
        FatalConnectorError: it rejects these options, or the queue does not exist and `create` is off.
    """
    client = make_client(redis.Redis, options, node)
    try:
        with ERRORS.translating(address):
            return _prepare(client, name, options, address)
    finally:
        client.close()


def _prepare(client: redis.Redis, name: str, options: RsmqOptions, address: str) -> QueueAttributes:
    manager = RedisSMQ(client=client, ns=options.ns, qname=name)
    try:
        found = _attributes(manager, name, address)
    except QueueDoesNotExist:
        if not options.create:
            raise FatalConnectorError(
                f"Redis at {address}: namespace {options.ns!r} has no queue {name!r}; create it, or set `create: true`"
            ) from None
        _create(manager, options)
        found = _attributes(manager, name, address)
    return QueueAttributes(found, _durability_warnings(client, address))


def _attributes(manager: RedisSMQ, name: str, address: str) -> float:
    try:
        return float(manager.getQueueAttributes().execute()["vt"])
    except (TypeError, ValueError):
        raise FatalConnectorError(
            f"Redis at {address}: the attributes of queue {name!r} are incomplete; no RSMQ client has created it"
        ) from None


def _create(manager: RedisSMQ, options: RsmqOptions) -> None:
    delay = options.delay or 0
    with contextlib.suppress(QueueAlreadyExists):  # another worker has created it meanwhile
        manager.createQueue(
            # Whole seconds: rsmq for Node reads integers, and a vt of 0.5 would be none to it.
            vt=_OWN_VT if options.vt is None else math.ceil(options.vt),
            delay=int(delay) if delay == int(delay) else delay,
            maxsize=options.maxsize,
        ).execute()


def _durability_warnings(client: redis.Redis, address: str) -> tuple[str, ...]:
    try:
        settings = client.config_get("appendonly") | client.config_get("maxmemory-policy")
    except ResponseError:
        return ()  # not permitted, or renamed, as with many hosted servers: nothing can be said
    shown = {_text(key): _text(value) for key, value in settings.items()}
    warnings = []
    if shown.get("appendonly") == "no":
        warnings.append(f"Redis at {address} has appendonly off: if it crashes, its queues are lost")
    policy = shown.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        warnings.append(f"Redis at {address} has maxmemory-policy {policy}: when memory is full, it may delete a queue")
    return tuple(warnings)


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
