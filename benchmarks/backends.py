"""The servers of a benchmark: started, filled before each run or once, emptied after it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.work import bodies

PARTITIONS = 4
CHUNK = 5_000  # records of one call that fills a queue
TRANSACTION = 100  # rows of one, where changes of a table are read


class Backend(ABC):
    """Where the messages of a benchmark are.

    Args:
        messages: How many a run gets, at most.
    """

    def __init__(self, messages: int) -> None:
        self.messages = messages

    @abstractmethod
    def prepare(self, messages: int) -> list[str]:
        """Make `messages` messages ready for one run; the arguments that tell its process where they are."""

    def close(self) -> None:  # noqa: B027  (not every backend has a server)
        """Stop the server."""


class Kafka(Backend):
    """One topic, filled once; each run reads it in a group of its own and writes to a topic of its own."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        from tests.servers.kafka import ADDRESS, jars
        from tests.servers.kafka.broker import Broker
        from tests.servers.kafka.server import ExternalServer

        # A broker that is to be fast, where tests have one that starts fast.
        address = os.environ.get(ADDRESS)
        self._server: Any = ExternalServer(address) if address else Broker(jars.fetch(), options=())
        self._source = self._fill()

    def _fill(self) -> str:
        from confluent_kafka import Producer

        topic: str = self._server.topic(partitions=PARTITIONS)
        producer = Producer({"bootstrap.servers": self._server.bootstrap, "linger.ms": 5, "enable.idempotence": True})
        for key, body in bodies(self.messages):
            while True:
                try:
                    producer.produce(topic, body, key)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.flush()
        return topic

    def prepare(self, messages: int) -> list[str]:  # noqa: ARG002  (a run reads as many as it is told)
        """Bootstrap servers, source topic, target topic."""
        target = self._server.topic(f"out-{uuid.uuid4().hex[:8]}", partitions=PARTITIONS)
        return [self._server.bootstrap, self._source, target]

    def close(self) -> None:
        """See `Backend.close`."""
        self._server.close()


class Postgres(Backend):
    """A database for each run, with a table of Penstock's and one of the hand-written loops, both filled."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        from tests.servers.postgres import OwnPostgresServer, PostgresServer, binaries

        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        address = os.environ.get("PENSTOCK_TEST_POSTGRES")
        self._server = PostgresServer(address) if address else OwnPostgresServer(binaries(), self._folder)
        if isinstance(self._server, OwnPostgresServer):
            self._server.start()

    def prepare(self, messages: int) -> list[str]:
        """The DSN."""
        import psycopg

        dsn = self._server.fresh()
        _fill_queue({"connector": "postgres", "value": "source", "config": {"dsn": dsn, "create": True}}, messages)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE source "
                "(id bigserial PRIMARY KEY, body bytea, key bytea, visible_at timestamptz, token uuid)"
            )
            connection.execute("CREATE TABLE target (id bigserial PRIMARY KEY, body bytea, key bytea)")
            connection.execute("INSERT INTO source (body, key) SELECT body, key FROM penstock_messages ORDER BY id")
            connection.execute("CREATE INDEX ON source (id) WHERE visible_at IS NULL")
            connection.execute("VACUUM ANALYZE")
        return [dsn]

    def close(self) -> None:
        """See `Backend.close`."""
        if hasattr(self._server, "kill"):
            self._server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class PostgresChanges(Postgres):
    """A database for each run, with a table that was filled after its slot was made."""

    def prepare(self, messages: int) -> list[str]:
        """The DSN."""
        import psycopg

        dsn = self._server.fresh()
        with psycopg.connect(dsn, autocommit=True) as connection:
            # A slot for each run keeps the log of all runs.
            connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
            connection.execute('CREATE TABLE source (id bigint PRIMARY KEY, "user" text, values jsonb, note text)')
            connection.execute("CREATE TABLE target (id bigserial PRIMARY KEY, body bytea, key bytea)")
            connection.execute("CREATE PUBLICATION source FOR TABLE source")
            connection.execute("SELECT pg_create_logical_replication_slot('source', 'pgoutput')")
            texts = [body.decode() for _key, body in bodies(messages)]
            fill = (
                "INSERT INTO source SELECT r.* FROM unnest(%s::jsonb[]) AS b, jsonb_populate_record(NULL::source, b) r"
            )
            for start in range(0, len(texts), TRANSACTION):
                connection.execute(fill, [texts[start : start + TRANSACTION]])
        return [dsn]


class Redis(Backend):
    """A queue in Redis for each run.

    Args:
        connector: Which kind of queue.
    """

    def __init__(self, messages: int, connector: str) -> None:
        super().__init__(messages)
        self._connector = connector
        from tests.servers.redis import OwnRedisServer, RedisServer, binary

        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        address = os.environ.get("PENSTOCK_TEST_REDIS")
        self._server = RedisServer(address) if address else OwnRedisServer(binary(), self._folder)
        if isinstance(self._server, OwnRedisServer):
            self._server.start()

    def prepare(self, messages: int) -> list[str]:
        """Host, port, source queue, target queue."""
        source, target = self._server.queue(), self._server.queue()
        place = {"host": self._server.host, "port": self._server.port}
        _fill_queue({"connector": self._connector, "value": source, "config": place}, messages)
        return [self._server.host, str(self._server.port), source, target]

    def close(self) -> None:
        """See `Backend.close`."""
        if hasattr(self._server, "kill"):
            self._server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class PubSub(Backend):
    """A topic with a subscription for each run, and a topic for its outputs."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        from tests.servers.pubsub import PROJECT, started

        self._project = PROJECT
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        self._server = started(self._folder)

    def prepare(self, messages: int) -> list[str]:
        """Address, project, source, target."""
        source, target = (f"{kind}-{uuid.uuid4().hex[:8]}" for kind in ("source", "target"))
        place = {"emulator": self._server.address, "project": self._project, "create": True}
        _fill_queue({"connector": "pubsub", "value": target, "config": place}, 0)
        _fill_queue({"connector": "pubsub", "value": source, "config": place}, messages)
        return [self._server.address, self._project, source, target]

    def close(self) -> None:
        """See `Backend.close`."""
        self._server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Nats(Backend):
    """A stream for each run, and another one for its outputs."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        from tests.servers.nats import OwnNatsServer, binary

        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        self._server = OwnNatsServer(binary(), self._folder)
        self._server.start()

    def prepare(self, messages: int) -> list[str]:
        """URL, source, target."""
        source, target = self._server.queue(), self._server.queue()
        for queue, count in ((source, messages), (target, 0)):
            _fill_queue({"connector": "nats", "value": queue, "config": {"servers": self._server.url}}, count)
        return [self._server.url, source, target]

    def close(self) -> None:
        """See `Backend.close`."""
        self._server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class ServiceBus(Backend):
    """A queue for each run, on the double of Service Bus."""

    connector = "servicebus"

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        self._server, self._process = self._start()

    def _start(self) -> tuple[Any, Any]:
        from tests.servers.servicebus import ServiceBusServer

        server = ServiceBusServer(self._folder)
        server.start()
        return server, server

    def prepare(self, messages: int) -> list[str]:
        """Connection string, source queue, target queue."""
        where, names = self._server.connection_string(), [self._server.queue(), self._server.queue()]
        create = {"create": True} if self.connector == "storage_queue" else {}
        for name, count in zip(names, (messages, 1), strict=True):
            config = {"connection_string": where, "timeout": 60, **create}
            _fill_queue({"connector": self.connector, "value": name, "config": config}, count)
        return [where, *names]

    def close(self) -> None:
        """See `Backend.close`."""
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class StorageQueue(ServiceBus):
    """The same on Azurite."""

    connector = "storage_queue"

    def _start(self) -> tuple[Any, Any]:
        from tests.servers.azurite import OwnAzuriteServer

        server = OwnAzuriteServer(self._folder)
        server.process.start()
        return server, server.process


class Rabbitmq(Backend):
    """A quorum queue for each run."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        from tests.servers.rabbitmq import GivenRabbitmq, RabbitmqServer, server_script

        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        address = os.environ.get("PENSTOCK_TEST_RABBITMQ")
        self._server = GivenRabbitmq(address) if address else RabbitmqServer(server_script()[0], self._folder)
        if not address:
            self._server.start()

    def prepare(self, messages: int) -> list[str]:
        """Host, port, source queue, target queue."""
        source, target = self._server.queue(), self._server.queue()
        place = {"host": self._server.host, "port": self._server.port}
        _fill_queue({"connector": "rabbitmq", "value": source, "config": place}, messages)
        return [self._server.host, str(self._server.port), source, target]

    def close(self) -> None:
        """See `Backend.close`."""
        if "PENSTOCK_TEST_RABBITMQ" not in os.environ:
            self._server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Sqs(Backend):
    """Two queues for each run, on the server of the tests that is the fastest: fauxqs."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        from tests.servers.sqs import fauxqs

        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        self._server = fauxqs(self._folder)
        if self._server.process is not None:
            self._server.process.start()

    def prepare(self, messages: int) -> list[str]:
        """Endpoint, source queue, target queue."""
        source, target = self._server.queue(), self._server.queue()
        place = {**self._server.config(), "create": True}
        _fill_queue({"connector": "sqs", "value": source, "config": place}, messages)
        _fill_queue({"connector": "sqs", "value": target, "config": place}, 0)
        return [self._server.url, source, target]

    def close(self) -> None:
        """See `Backend.close`."""
        if self._server.process is not None:
            self._server.process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Sqlite(Backend):
    """A file for each run."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))

    def prepare(self, messages: int) -> list[str]:
        """The path of the file."""
        path = str(self._folder / f"{uuid.uuid4().hex[:8]}.db")
        config = {"path": path, "synchronous": "normal"}
        _fill_queue({"connector": "sqlite", "value": "source", "config": config}, messages)
        return [path]

    def close(self) -> None:
        """See `Backend.close`."""
        shutil.rmtree(self._folder, ignore_errors=True)


class Http(Backend):
    """A server with a feed, filled for each run, that takes requests as well."""

    def __init__(self, messages: int) -> None:
        super().__init__(messages)
        from tests.servers.feed import FeedServer

        self._folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        self._server = FeedServer(self._folder)
        self._server.start()

    def prepare(self, messages: int) -> list[str]:
        """URL of the feed, URL of the target, the file for the place."""
        from urllib.request import Request, urlopen

        source, target = self._server.queue(), self._server.queue()
        filling = [body for _key, body in bodies(messages)]
        for start in range(0, len(filling), CHUNK):
            urlopen(Request(source, b"\n".join(filling[start : start + CHUNK]), method="PUT"), timeout=60).close()
        return [source, target, str(self._folder / uuid.uuid4().hex)]

    def close(self) -> None:
        """See `Backend.close`."""
        self._server.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


class Memory(Backend):
    """Each process fills its own queue."""

    def prepare(self, messages: int) -> list[str]:  # noqa: ARG002
        """Nothing."""
        return []


BACKENDS: Mapping[str, Callable[[int], Backend]] = {
    "kafka": Kafka,
    "kafka.send": Kafka,
    "kafka.read": Kafka,
    "kafka.share": Kafka,
    "postgres": Postgres,
    "postgres-exactly-once": Postgres,
    "postgres.changes": PostgresChanges,
    "redis.streams": partial(Redis, connector="redis.streams"),
    "redis.lists": partial(Redis, connector="redis.lists"),
    "rsmq": partial(Redis, connector="rsmq"),
    "nats": Nats,
    "pubsub": PubSub,
    "servicebus": ServiceBus,
    "storage_queue": StorageQueue,
    "http": Http,
    "rabbitmq": Rabbitmq,
    "sqs": Sqs,
    "memory": Memory,
    "sqlite": Sqlite,
}


def _fill_queue(queue: dict[str, Any], messages: int) -> None:
    """Store messages in a queue by Penstock's own producer, which is tested elsewhere."""
    from penstock import Record
    from penstock.standalone import OutputQueue, resolve

    async def fill() -> None:
        async with OutputQueue(resolve(queue, "output")) as output:
            records = [Record(body, key if output.carries_keys else None) for key, body in bodies(messages)]
            for start in range(0, len(records), CHUNK):
                await output.produce(records[start : start + CHUNK])

    asyncio.run(fill())
