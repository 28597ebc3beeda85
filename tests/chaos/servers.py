"""The servers that are hurt: of our own, each with a proxy before it; the ledger's clients go past the proxy."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from tests.servers.proxy import Proxy

KAFKA, REDIS, POSTGRES = "kafka", "redis", "postgres"
NATS, PUBSUB = "nats", "pubsub"
HTTP = "http"
RABBITMQ, SQS, SQLITE = "rabbitmq", "sqs", "sqlite"
KAFKA_SHARE, POSTGRES_CHANGES = "kafka.share", "postgres.changes"
REDIS_STREAMS, REDIS_LISTS = "redis.streams", "redis.lists"
SERVICE_BUS, STORAGE_QUEUE = "servicebus", "storage_queue"


class Server(Protocol):
    """What each of the servers in tests/servers can be told."""

    def kill(self) -> None:
        """End it without warning."""

    def stop(self) -> None:
        """End it in order."""

    def start(self) -> None:
        """Start it again, with what it had."""


class NoServer:
    """What stands for the server of a backend that has none: processes share its files.

    Attributes:
        directory: Where they are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def kill(self) -> None:
        """Nothing: there is none."""

    stop = start = kill


class Place:
    """A server and the proxy before it.

    Attributes:
        name: `KAFKA`, `REDIS`, `POSTGRES`, …: which backend reads its queues.
        direct: Its port for the ledger.
        proxy: Workers connect to `proxy.port`.
    """

    def __init__(self, name: str, server: Server, direct: int, proxy: Proxy) -> None:
        self.name = name
        self.server = server
        self.direct = direct
        self.proxy = proxy


class Unavailable(Exception):
    """A server cannot be had on this machine; the text says why, and what would help.

    Attributes:
        required: PENSTOCK_TEST_REQUIRE names it, or it did not start: a failure, not a row that is left out.
    """

    def __init__(self, reason: str, required: bool) -> None:
        super().__init__(reason)
        self.required = required


class Servers:
    """Starts each server when it is first asked for. Never one that runs already: it would be killed."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._places: dict[str, Place] = {}
        self._unavailable: dict[str, Unavailable] = {}

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def get(self, name: str) -> Place:
        """The server, running.

        Raises:
            Unavailable: it cannot be had here.
        """
        if name in self._unavailable:
            raise self._unavailable[name]
        if name not in self._places:
            start: Callable[[], Place] = {
                **{kafka: partial(self._kafka, kafka) for kafka in (KAFKA, KAFKA_SHARE)},
                **{postgres: partial(self._postgres, postgres) for postgres in (POSTGRES, POSTGRES_CHANGES)},
                NATS: self._nats,
                PUBSUB: self._pubsub,
                SERVICE_BUS: self._service_bus,
                STORAGE_QUEUE: self._storage_queue,
                HTTP: self._http,
                RABBITMQ: self._rabbitmq,
                SQS: self._sqs,
                SQLITE: self._sqlite,
                **{redis: partial(self._redis, redis) for redis in (REDIS, REDIS_STREAMS, REDIS_LISTS)},
            }[name]
            try:
                self._places[name] = start()
            except pytest.skip.Exception as skipped:
                raise self._remember(name, str(skipped)) from None
            except (pytest.fail.Exception, Exception) as failed:  # noqa: BLE001  (its rows fail, the others go on)
                raise self._remember(name, str(failed), required=True) from None
        return self._places[name]

    def _remember(self, name: str, reason: str, required: bool = False) -> Unavailable:
        self._unavailable[name] = Unavailable(reason, required)
        return self._unavailable[name]

    def _kafka(self, name: str) -> Place:
        from tests.servers.kafka import jars
        from tests.servers.requirement import missing

        try:
            from tests.servers.kafka.broker import Broker

            broker = Broker(jars.fetch())
        except jars.BrokerUnavailableError as error:
            missing(KAFKA, str(error))
        self._stack.callback(broker.close)
        assert broker.behind_proxy is not None
        behind, listen = broker.behind_proxy
        return Place(name, broker, int(broker.bootstrap.rpartition(":")[2]), self._proxy(behind, listen))

    def _redis(self, name: str) -> Place:
        from tests.servers.redis import OwnRedisServer, binary

        server = OwnRedisServer(binary(), self._folder())
        self._stack.callback(server.kill)
        server.start()
        return Place(name, server, server.port, self._proxy(server.port))

    def _postgres(self, name: str) -> Place:
        from tests.servers.postgres import OwnPostgresServer, binaries

        server = OwnPostgresServer(binaries(), self._folder())
        self._stack.callback(server.kill)
        server.start()
        return Place(name, server, server.port, self._proxy(server.port))

    def _nats(self) -> Place:
        from tests.servers.nats import OwnNatsServer, binary

        server = OwnNatsServer(binary(), self._folder())
        self._stack.callback(server.kill)
        server.start()
        return Place(NATS, server, server.port, self._proxy(server.port))

    def _pubsub(self) -> Place:
        from tests.servers.pubsub import counting

        server = counting(self._folder())
        self._stack.callback(server.kill)
        return Place(PUBSUB, server, server.port, self._proxy(server.port))

    def _service_bus(self) -> Place:
        from tests.servers.servicebus import ServiceBusServer

        server = ServiceBusServer(self._folder())
        self._stack.callback(server.kill)
        server.start()
        return Place(SERVICE_BUS, server, server.port, self._proxy(server.port))

    def _storage_queue(self) -> Place:
        from tests.servers.azurite import OwnAzuriteServer

        server = OwnAzuriteServer(self._folder())
        self._stack.callback(server.process.kill)
        server.process.start()
        return Place(STORAGE_QUEUE, server.process, server.port, self._proxy(server.port))

    def _rabbitmq(self) -> Place:
        from tests.servers.rabbitmq import RabbitmqServer, server_script

        server = RabbitmqServer(server_script()[0], self._folder())
        self._stack.callback(server.kill)
        server.start()
        return Place(RABBITMQ, server, server.port, self._proxy(server.port))

    def _sqs(self) -> Place:
        from tests.servers.sqs import own_elasticmq

        server = own_elasticmq(self._folder())
        assert server.process is not None
        self._stack.callback(server.process.kill)
        server.process.start()
        return Place(SQS, server.process, server.port, self._proxy(server.port))

    def _sqlite(self) -> Place:
        return Place(SQLITE, NoServer(self._folder()), 0, self._proxy(0))

    def _http(self) -> Place:
        from tests.servers.feed import FeedServer

        server = FeedServer(self._folder())
        self._stack.callback(server.kill)
        server.start()
        return Place(HTTP, server, server.port, self._proxy(server.port))

    def _folder(self) -> Path:
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-chaos-")))

    def _proxy(self, port: int, listen: int = 0) -> Proxy:
        proxy = Proxy("127.0.0.1", port, listen)
        self._stack.callback(proxy.close)
        return proxy
