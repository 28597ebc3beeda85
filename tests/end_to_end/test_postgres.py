"""Four workers on one PostgreSQL, one of them killed again and again, then the server itself: every id is counted.

Run with `-s` to see the counts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.end_to_end.workers import APPS, Worker, wait_until, worker
from tests.servers.postgres import PostgresServer

from penstock_postgres import enqueue

MESSAGES = 20_000
WORKERS = 4
KILLS = 3
STAGE = MESSAGES // (KILLS + 1)  # stored when all workers are there: each kill meets one at work
SESSIONS = 4  # of a worker: two of its input, one of each output
IN_FLIGHT = 500
SEED = 20261121

DELIVERIES = pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])


class Database:
    """Where the queues are: filled, watched, counted by plain SQL."""

    def __init__(self, dsn: str, folder: Path, delivery: str) -> None:
        self.dsn = dsn
        self._folder = folder
        self._delivery = delivery

    def configure(self, lease: float) -> None:
        """Write the workers' configuration; `lease` in seconds."""
        (self._folder / "queues.yml").write_text(
            f"""
queues:
  numbers: {{profile: postgres, config: &postgres {{dsn: "{self.dsn}", lease: {lease}, timeout: 5}}}}
  left: {{profile: postgres, config: *postgres}}
  right: {{profile: postgres, config: *postgres}}
engine: {{max_in_flight: {IN_FLIGHT}, delivery: {self._delivery}}}
"""
        )

    def fill(self, numbers: range) -> None:
        """Store these numbers in the input queue."""
        with psycopg.connect(self.dsn) as connection:
            enqueue(connection, "numbers", [{"id": number} for number in numbers])

    def sessions(self) -> int:
        """How many connections the workers have."""
        with psycopg.connect(self.dsn) as connection:
            [[found]] = connection.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE application_name = 'penstock' AND datname = current_database()"
            ).fetchall()
        return int(found)

    def count(self, queue: str) -> int:
        """How many rows a queue has."""
        with psycopg.connect(self.dsn) as connection:
            [[found]] = connection.execute(
                "SELECT count(*) FROM penstock_messages WHERE queue = %s", (queue,)
            ).fetchall()
        return int(found)

    def held(self, by: Worker | None = None) -> int:
        """How many messages the workers, or one of them, have taken and not settled."""
        owner = "%" if by is None else f"%:{by.process.pid}"
        with psycopg.connect(self.dsn) as connection:
            [[found]] = connection.execute(
                "SELECT count(*) FROM penstock_messages WHERE lease IS NOT NULL AND leased_by LIKE %s", (owner,)
            ).fetchall()
        return int(found)

    def check(self, bound: int) -> int:
        """Every id once or more in both outputs, no other id, and at most `bound` duplicates.

        Returns:
            How many outputs are of an input that was delivered more than once: the fault hit something.
        """
        duplicates = redelivered = 0
        with psycopg.connect(self.dsn) as connection:
            for queue in ("left", "right"):
                rows = connection.execute(
                    "SELECT (output ->> 'id')::int, (output ->> 'attempt')::int FROM penstock_messages, "
                    "LATERAL (SELECT convert_from(body, 'UTF8')::json AS output) AS decoded WHERE queue = %s",
                    (queue,),
                ).fetchall()
                ids = [number for number, _attempt in rows]
                redelivered += sum(attempt > 1 for _number, attempt in rows)
                assert set(ids) == set(range(MESSAGES)), f"{queue}: {MESSAGES - len(set(ids))} inputs have no output"
                duplicates = max(duplicates, len(ids) - MESSAGES)
        assert duplicates <= bound, f"{duplicates} duplicates, the bound is {bound}"
        print(f"{MESSAGES} inputs, {duplicates} duplicates, {redelivered} outputs of redelivered inputs")
        return redelivered


@contextmanager
def workers(folder: Path) -> Iterator[list[Worker]]:
    """Four of them, all of the same engine."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(worker(APPS / "fan_out.py", "--config", "queues.yml", cwd=folder))
            for _ in range(WORKERS)
        ]


@pytest.fixture
def database(postgres: PostgresServer, tmp_path: Path, delivery: str) -> Database:
    """Empty queues in a database of the test's own."""
    from penstock.cli.main import main

    dsn = postgres.fresh()
    assert main(["postgres", "migrate", "--dsn", dsn]) == 0
    return Database(dsn, tmp_path, delivery)


@DELIVERIES
def test_a_worker_that_is_killed_three_times_loses_nothing(database: Database, tmp_path: Path, delivery: str) -> None:
    """Nothing is lost; sent twice is at most what was in flight, and nothing at all with exactly_once."""
    database.configure(lease=3)
    chance, hit = random.Random(SEED), list[int]()
    stages = [range(start, start + STAGE) for start in range(0, MESSAGES, STAGE)]
    with ExitStack() as stack, workers(tmp_path) as running:
        for stage in stages[:KILLS]:
            wait_until(lambda: database.sessions() == WORKERS * SESSIONS, "all are connected", running)
            database.fill(stage)
            enough = stage.start + int(chance.uniform(0.1, 0.6) * STAGE)
            wait_until(lambda enough=enough: database.count("left") >= enough, f"{enough} outputs", running)  # type: ignore[misc]
            # Whichever does: a certain one may be slow, and the others have it all by then.
            wait_until(lambda: any(map(database.held, running)), "one holds messages", running)
            victim = max(running, key=database.held)
            victim.kill()
            hit.append(database.held(victim))
            running.remove(victim)
            wait_until(lambda: database.sessions() < WORKERS * SESSIONS, "its connections are gone", running)
            running.append(stack.enter_context(worker(APPS / "fan_out.py", "--config", "queues.yml", cwd=tmp_path)))
        # A signal that comes before Python has started ends it at once.
        wait_until(lambda: database.sessions() == WORKERS * SESSIONS, "all are connected", running)
        database.fill(stages[-1])
        wait_until(lambda: database.count("numbers") == 0, "everything settled", running)
        for each in running:
            code, _seconds = each.stop()
            assert code == 0, each.output

    print(f"killed with {hit} messages")
    assert sum(hit) > 0
    assert database.check(bound=KILLS * IN_FLIGHT if delivery == "at_least_once" else 0) > 0


@DELIVERIES
def test_a_server_that_is_killed_in_the_middle_loses_nothing(
    database: Database, postgres: PostgresServer, tmp_path: Path, delivery: str
) -> None:
    """The workers find it again by themselves; a commit whose answer never came is not made twice by exactly_once."""
    database.configure(lease=60)  # longer than it is away: this is about the crash alone
    database.fill(range(MESSAGES))
    with workers(tmp_path) as running:
        wait_until(lambda: database.count("left") >= MESSAGES // 2, "half of the outputs", running)
        wait_until(lambda: database.held() > 0, "messages are in flight", running)
        postgres.restart()
        wait_until(lambda: database.count("numbers") == 0, "everything settled", running)
        for each in running:
            code, _seconds = each.stop()
            assert code == 0, each.output

        assert all("connecting again" in each.output for each in running)

    database.check(bound=WORKERS * IN_FLIGHT if delivery == "at_least_once" else 0)
