"""A message that kills the worker: it alone is dead-lettered. Kills without a message to blame declare none poison.

Run with `-s` to see the counts, and with PENSTOCK_TEST_POISON=all for each way to die, each kind of function, the
default `max_deliveries` and twenty kills.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
import redis
from rsmq import RedisSMQ
from tests.end_to_end.workers import APPS, TIMEOUT, worker
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

from penstock_postgres import enqueue

MESSAGES = 300
POISON = 120
LEASE = 1.0  # seconds
GROUP = 16  # as in penstock.pipeline.suspects
DEFAULT_DELIVERIES = 20
SEED = 20261126
ALL = os.environ.get("PENSTOCK_TEST_POISON") == "all"
KILLS = 20 if ALL else 3

# (backend, death, kind of function, max_deliveries)
SHORT = [
    ("postgres", "exit", "sync", 2),
    ("postgres", "abort", "batch", 1),
    ("rsmq", "segv", "async", 2),
    ("rsmq", "kill", "sync", 1),
]
EVERY = list(
    itertools.product(
        ["postgres", "rsmq"], ["exit", "segv", "abort", "kill"], ["sync", "async", "batch"], [3, DEFAULT_DELIVERIES]
    )
)


class Backend(Protocol):
    """Where the numbers, their doubles and the dead letters are."""

    def queues(self, batch: bool) -> str:
        """The configuration of the queues, as YAML."""

    def fill(self) -> None:
        """Store the numbers."""

    def waiting(self) -> int:
        """Numbers that are not settled."""

    def stored(self, queue: str) -> list[bytes]:
        """Bodies in one of the other queues."""


class Postgres:
    """See `Backend`."""

    def __init__(self, server: PostgresServer) -> None:
        self._dsn = server.fresh()

    def queues(self, batch: bool) -> str:
        return f"""
queues:
  numbers: {{profile: postgres, batch: {batch}, config: &it {{dsn: "{self._dsn}", lease: {LEASE}, create: true}}}}
  doubles: {{profile: postgres, config: *it}}
  dead: {{profile: postgres-dlq, config: *it}}
"""

    def fill(self) -> None:
        subprocess.run(["penstock", "postgres", "migrate", "--dsn", self._dsn], check=True, stdout=subprocess.DEVNULL)
        with psycopg.connect(self._dsn) as connection:
            enqueue(connection, "numbers", [{"id": number} for number in range(MESSAGES)])

    def waiting(self) -> int:
        return len(self.stored("numbers"))

    def stored(self, queue: str) -> list[bytes]:
        with psycopg.connect(self._dsn) as connection:
            rows = connection.execute("SELECT body FROM penstock_messages WHERE queue = %s", [queue])
            return [body for (body,) in rows]


class Rsmq:
    """See `Backend`."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._client = redis.Redis(server.host, server.port)
        self._names = {queue: server.queue() for queue in ("numbers", "doubles", "dead")}

    def queues(self, batch: bool) -> str:
        config = f"{{host: {self._server.host}, port: {self._server.port}, vt: {LEASE:g}}}"
        names = self._names
        return f"""
queues:
  numbers: {{profile: rsmq, value: {names["numbers"]}, batch: {batch}, config: &it {config}}}
  doubles: {{profile: rsmq, value: {names["doubles"]}, config: *it}}
  dead: {{profile: rsmq-dlq, value: {names["dead"]}, config: *it}}
"""

    def fill(self) -> None:
        for name in self._names.values():
            RedisSMQ(client=self._client, qname=name).createQueue(vt=1).execute()
        queue = RedisSMQ(client=self._client, qname=self._names["numbers"])
        for number in range(MESSAGES):
            queue.sendMessage(message=json.dumps({"id": number}), quiet=True).execute()

    def waiting(self) -> int:
        return int(self._client.zcard(f"rsmq:{self._names['numbers']}"))

    def stored(self, queue: str) -> list[bytes]:
        key = f"rsmq:{self._names[queue]}"
        ids = self._client.zrange(key, 0, -1)  # first: what comes in between has a body by then
        bodies = self._client.hgetall(f"{key}:Q")
        return [bodies[each] for each in ids if each in bodies]


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Any:
    """The backend of a test's parameter."""
    server = request.getfixturevalue({"postgres": "postgres", "rsmq": "redis_server"}[request.param])
    return {"postgres": Postgres, "rsmq": Rsmq}[request.param](server)


def configure(backend: Backend, folder: Path, kind: str, max_deliveries: int) -> None:
    """Fill the queue and write the worker's configuration."""
    backend.fill()
    engine = f"engine: {{retry: {{max_deliveries: {max_deliveries}}}, concurrency: 4}}\n"
    (folder / "queues.yml").write_text(backend.queues(kind == "batch").replace("batch: False", "batch: false") + engine)


def doubles(backend: Backend) -> Counter[int]:
    """How often each number came out."""
    return Counter(json.loads(body)["id"] for body in backend.stored("doubles"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("backend", "death", "kind", "limit"), EVERY if ALL else SHORT, indirect=["backend"])
def test_one_message_that_kills_the_worker_is_the_only_dead_letter(
    backend: Backend, death: str, kind: str, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor restarts the worker after each death: one dead letter, all others come out."""
    configure(backend, tmp_path, kind, limit)
    for name, value in {"POISON": str(POISON), "DEATH": death, "KIND": kind}.items():
        monkeypatch.setenv(name, value)
    deaths = 0
    deadline = time.monotonic() + TIMEOUT + 15 * limit
    while backend.waiting():
        with worker(APPS / "poison.py", "--config", "queues.yml", cwd=tmp_path) as running:
            while backend.waiting() and running.process.poll() is None:
                assert time.monotonic() < deadline, running.output[-3000:]
                time.sleep(0.02)
            deaths += running.process.poll() is not None

    found = doubles(backend)
    repeated = found.total() - len(found)
    letters = backend.stored("dead")
    print(f"\n{type(backend).__name__} {death} {kind}: {deaths} deaths, {len(letters)} dead letters, {repeated} twice")
    assert len(letters) == 1
    assert str(POISON).encode() in letters[0]
    assert set(found) == set(range(MESSAGES)) - {POISON}
    assert deaths == limit + 2
    assert repeated <= MESSAGES + GROUP


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["postgres", "rsmq"], indirect=True)
@pytest.mark.parametrize("kind", ["sync", "async", "batch"] if ALL else ["sync"])
def test_kills_of_a_worker_without_poison_declare_no_message_poison(
    backend: Backend, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 at random moments under load: nothing is dead-lettered, everything comes out."""
    configure(backend, tmp_path, kind, 3)
    for name, value in {"POISON": "-1", "KIND": kind, "PAUSE": "0.02"}.items():
        monkeypatch.setenv(name, value)
    chance = random.Random(SEED)
    for _kill in range(KILLS):
        with worker(APPS / "poison.py", "--config", "queues.yml", cwd=tmp_path) as running:
            before, deadline = len(backend.stored("doubles")), time.monotonic() + TIMEOUT
            while backend.waiting() and len(backend.stored("doubles")) == before:
                assert time.monotonic() < deadline, running.output[-3000:]
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.1))
            running.kill()
    with worker(APPS / "poison.py", "--config", "queues.yml", cwd=tmp_path) as running:
        deadline = time.monotonic() + TIMEOUT
        while backend.waiting():
            assert time.monotonic() < deadline, running.output[-3000:]
            time.sleep(0.02)

    found = doubles(backend)
    print(f"\n{type(backend).__name__} {kind}: {found.total() - len(found)} twice after {KILLS} kills")
    assert backend.stored("dead") == []
    assert set(found) == set(range(MESSAGES))
