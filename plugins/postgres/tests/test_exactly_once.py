"""`delivery: exactly_once`, as an engine has it: whatever becomes of a message, it shows once in the database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from penstock import Engine, Output, Retry
from penstock.errors import CapabilityError
from penstock.message import QueueMessage, Record
from penstock.observability.metric_definitions import OUTCOMES, RECEIVED, SETTLED
from penstock.worker.worker import Worker

Sql = Callable[..., list[tuple[Any, ...]]]
LONGEST = 60.0  # seconds for a drain, which without progress would never end
RETRY = {"max_attempts": 2, "initial_delay": 0.01, "max_delay": 0.05}


@pytest.fixture
def drain(opener: Any, dsn: str, schema: str) -> Callable[..., Engine]:
    """`drain(function, bodies)`: run it over a queue of these bodies until that is empty; `drain.counts()` follows."""

    def run(
        function: Callable[..., Any],
        bodies: Sequence[bytes],
        batch: bool = False,
        everywhere: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        **source: Any,
    ) -> Engine:
        async def fill() -> None:
            async with opener.producer("numbers") as producer:
                assert not any(await producer.produce([Record(body) for body in bodies]))

        asyncio.run(fill())
        config = {"dsn": dsn, "schema": schema, "lease": 20.0, **(everywhere or {})}
        queues = {
            "numbers": {"profile": "postgres", "config": {**config, **source}, "batch": batch},
            "left": {"profile": "postgres", "config": config},
            "right": {"profile": "postgres", "config": config},
            "dead": {"profile": "postgres-dlq", "config": config},
        }
        app = Engine(
            "numbers",
            ["left", "right"],
            dead_letter_queue="dead",
            queue_config={"queues": queues},
            metrics_port=None,
            delivery="exactly_once",
            **{"retry": RETRY, **(settings or {})},
        )
        app.stream_app(function)
        worker = Worker([app], app.worker_settings(), drain=True)
        run.counts = lambda: next(iter(worker.metrics.engines())).counts()  # type: ignore[attr-defined]
        in_time = threading.Timer(LONGEST, os.kill, (os.getpid(), signal.SIGTERM))
        in_time.start()
        worker.run()
        in_time.cancel()
        return app

    return run


def stored(sql: Sql, queue: str) -> Counter[bytes]:
    return Counter(body for (body,) in sql("SELECT body FROM penstock_messages WHERE queue = %s", queue))


def test_every_kind_of_outcome_shows_once(drain: Callable[..., Engine], sql: Sql) -> None:
    """Succeeded, dead-lettered for each of its reasons, retried, requeued: in both outputs or in none."""
    requeued: set[int] = set()

    def function(message: dict[str, int]) -> Any:
        number = message["id"]
        if number % 10 == 3:
            raise ValueError("this one never works")
        if number % 10 == 4 and number not in requeued:
            requeued.add(number)
            return False
        if number % 10 == 5 and number not in requeued:
            requeued.add(number)
            raise Retry(0.01)
        if number % 10 == 6:
            return [("left", message), Output("right", message, priority=99_999)]
        if number % 10 == 7:
            return True
        return [("left", message), ("right", message)]

    bodies = [b'{"id":%d}' % number for number in range(300)]
    drain(function, [*bodies, b"no json"])

    lost = {3, 6, 7}
    expected = Counter(body for number, body in enumerate(bodies) if number % 10 not in lost)
    assert stored(sql, "left") == expected
    assert stored(sql, "right") == expected
    dead = Counter(body for number, body in enumerate(bodies) if number % 10 in (3, 6))
    assert stored(sql, "dead") == dead + Counter([b"no json"])
    assert stored(sql, "numbers") == Counter()


def test_a_dead_letter_says_why(drain: Callable[..., Engine], sql: Sql) -> None:
    """In headers that SQL can read."""

    def function(message: dict[str, int]) -> Any:
        return Output("left", message, priority=99_999)

    drain(function, [b'{"id":1}'])

    [[headers]] = sql("SELECT headers FROM penstock_messages WHERE queue = 'dead'")
    told = dict(headers)
    assert told["penstock-error-stage"] == "produce"
    assert "a priority is a whole number" in told["penstock-error-text"]


def test_a_batch_is_one_transaction(drain: Callable[..., Engine], sql: Sql) -> None:
    """Its outputs belong to all of its messages together."""

    def function(messages: list[dict[str, int]]) -> Any:
        return [("left", {"sum": sum(message["id"] for message in messages), "count": len(messages)})]

    drain(function, [b'{"id":%d}' % number for number in range(100)], batch=True)

    sums = [json.loads(body) for body in stored(sql, "left").elements()]
    assert sum(each["sum"] for each in sums) == sum(range(100))
    assert sum(each["count"] for each in sums) == 100


@pytest.mark.parametrize("batch", [False, True])
def test_what_others_have_taken_over_is_theirs_alone(
    drain: Callable[..., Engine], opener: Any, sql: Sql, batch: bool
) -> None:
    """A message whose lease ended while the function ran: another worker has it, and its outputs are the only ones."""

    def steal(number: int) -> None:
        # As another worker's claim does it, after the lease.
        sql(
            "UPDATE penstock_messages SET lease = gen_random_uuid(), visible_at = now() + interval '1 hour', "
            "attempts = attempts + 1 WHERE queue = 'numbers' AND convert_from(body, 'UTF8')::json ->> 'id' = %s",
            str(number),
        )

    def each(message: dict[str, int], msg_ctx: QueueMessage) -> Any:
        if message["id"] == 5 and msg_ctx.attempts == 1:
            steal(5)
        return [("left", message)]

    def whole(messages: list[dict[str, int]], msg_ctx: list[QueueMessage]) -> Any:
        for message, context in zip(messages, msg_ctx, strict=True):
            if message["id"] == 5 and context.attempts == 1:
                steal(5)
        return [("left", message) for message in messages]

    bodies = [b'{"id":%d}' % number for number in range(10)]
    drain(whole if batch else each, bodies, batch=batch)

    assert stored(sql, "left") == Counter(body for body in bodies if body != bodies[5])
    assert stored(sql, "numbers") == Counter([bodies[5]])


def through(wire: Any, dsn: str, **options: Any) -> dict[str, Any]:
    """The options of queues that are reached by a proxy."""
    parts = urlsplit(dsn)
    return {"dsn": urlunsplit(parts._replace(netloc=f"postgres@{wire.host}:{wire.port}")), **options}


async def slowly(message: dict[str, int]) -> Any:
    """A function whose calls end one by one, so that their batches are small."""
    await asyncio.sleep(0.02)
    return [("left", message)]


def test_a_slow_database_makes_the_engine_slow_and_dead_letters_nothing(
    drain: Callable[..., Engine], sql: Sql, dsn: str, proxy: Any
) -> None:
    """40 ms there and back, short leases, many small batches: their transactions wait, and no lease ends meanwhile."""
    parts = urlsplit(dsn)
    wire = proxy(parts.hostname, parts.port)
    wire.delay(0.02)
    bodies = [b'{"id":%d}' % number for number in range(500)]
    settings = {"concurrency": 20, "retry": {**RETRY, "max_deliveries": 2}}

    drain(slowly, bodies, everywhere=through(wire, dsn, lease=1.5), settings=settings)

    assert stored(sql, "left") == Counter(bodies)
    assert stored(sql, "dead") == Counter()
    assert stored(sql, "numbers") == Counter()


def test_a_black_hole_longer_than_the_lease_dead_letters_nothing(
    drain: Callable[..., Engine], sql: Sql, dsn: str, proxy: Any
) -> None:
    """All leases end, in a worker that lives: the messages come again, as if for the first time."""
    parts = urlsplit(dsn)
    wire = proxy(parts.hostname, parts.port)
    bodies = [b'{"id":%d}' % number for number in range(3_000)]
    holes: list[threading.Timer] = []

    def function(message: dict[str, int]) -> Any:
        if message["id"] == 300 and not holes:
            wire.blackhole()
            holes.append(threading.Timer(2.5, wire.heal))
            holes[0].start()
        return [("left", message)]

    settings = {"concurrency": 4, "batch_size": 100, "retry": {**RETRY, "max_deliveries": 1}}
    drain(function, bodies, everywhere=through(wire, dsn, lease=0.5, timeout=1.0), settings=settings)

    assert stored(sql, "left") == Counter(bodies)
    assert stored(sql, "dead") == Counter()


def test_queues_that_share_no_database_are_refused_at_start(dsn: str) -> None:
    """Each with its reason, before anything is connected."""
    queues = {
        "numbers": {"profile": "postgres", "config": {"dsn": dsn}},
        "elsewhere": {"profile": "postgres", "config": {"dsn": "postgresql://postgres@db.example/other"}},
        "memory": {"profile": "memory"},
    }

    def refused(outputs: list[str], source: str = "numbers") -> str:
        app = Engine(source, outputs, queue_config={"queues": queues}, delivery="exactly_once", metrics_port=None)
        app.stream_app(lambda _message: None)
        with pytest.raises(CapabilityError) as caught:
            Worker([app], app.worker_settings()).run()
        return str(caught.value)

    text = refused(["elsewhere"])
    assert "queue 'elsewhere'" in text
    assert "its `dsn` leads to another server, database or user" in text
    assert "delivery: exactly_once of engine 'lambda'" in text
    assert "connector 'memory' has no 'transactions'" in refused(["memory"])
    assert "connector 'memory' has no 'transactions'" in refused([], source="memory")


def test_messages_lost_before_their_dead_letters_are_late(drain: Callable[..., Engine], sql: Sql) -> None:
    """Another worker has them by then: no letter is stored for them, and none is counted as dead-lettered."""
    taken = threading.Event()

    def function(message: dict[str, int]) -> Any:
        if not taken.is_set():
            taken.set()
            sql(
                "UPDATE penstock_messages SET lease = gen_random_uuid(), visible_at = now() "
                "WHERE queue = 'numbers' AND body IN ('{\"id\":0}', '{\"id\":1}')"
            )
        raise ValueError("never")

    drain(function, [b'{"id":%d}' % number for number in range(20)])

    counts = drain.counts()  # type: ignore[attr-defined]
    outcomes = {outcome: counts[SETTLED, outcome] for outcome in OUTCOMES if counts[SETTLED, outcome]}
    # The two come again, and are dead-lettered then.
    assert outcomes == {"dead_lettered": 20, "late": 2}
    assert counts[RECEIVED, ""] == 22
    assert stored(sql, "dead").total() == 20
