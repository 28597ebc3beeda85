"""At least once into a table with a primary key, killed again and again: the table equals the input."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from tests.end_to_end.workers import wait_until, worker
from tests.servers.postgres import PostgresServer

from penstock_postgres import enqueue

MESSAGES = 3_000
KILLS = 3

APP = """
from penstock import Engine

app = Engine(input_queue="numbers", output_queues=["table"], dead_letter_queue="dead", queue_config="queues.yml")


@app.stream_app
def store(number):
    return "table", {"id": number.id, "twice": 2 * number.id}
"""


@pytest.mark.parametrize("on_conflict", ["ignore", "update"])
def test_a_table_equals_the_input_after_kills(postgres: PostgresServer, tmp_path: Path, on_conflict: str) -> None:
    """No row is missing, none is there twice, and nothing healthy is dead-lettered."""
    dsn = postgres.fresh()
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "queues.yml").write_text(
        f"""
queues:
  numbers: {{profile: postgres, config: &server {{dsn: "{dsn}", lease: 1, create: true}}}}
  dead: {{profile: postgres-dlq, config: *server}}
  table: {{profile: postgres-table, value: results, config: {{dsn: "{dsn}", on_conflict: {on_conflict}, key: [id]}}}}
engine: {{max_in_flight: 200, batch_size: 20, retry: {{max_deliveries: 100}}}}
worker: {{metrics_port: none}}
"""
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE results (id bigint PRIMARY KEY, twice bigint NOT NULL)")

        def stored() -> int:
            return int(connection.execute("SELECT count(*) FROM results").fetchall()[0][0])

        with worker("app.py", cwd=tmp_path) as running:
            wait_until(
                lambda: bool(connection.execute("SELECT to_regclass('penstock_messages')").fetchall()[0][0]),
                "the table of messages",
                [running],
            )
            enqueue(connection, "numbers", [{"id": number} for number in range(MESSAGES)])
            wait_until(lambda: stored() >= 100, "the first rows", [running])
            running.kill()
        for kill in range(1, KILLS):
            with worker("app.py", cwd=tmp_path) as running:
                goal = min(MESSAGES, stored() + kill * 100)
                wait_until(lambda goal=goal: stored() >= goal, "more rows", [running])  # type: ignore[misc]
                running.kill()
        with worker("app.py", "--drain", cwd=tmp_path) as running:
            assert running.process.wait(90) == 0, running.output

        assert connection.execute("SELECT id, twice FROM results ORDER BY id").fetchall() == [
            (number, 2 * number) for number in range(MESSAGES)
        ]
        assert connection.execute("SELECT count(*) FROM penstock_messages").fetchall() == [(0,)]
