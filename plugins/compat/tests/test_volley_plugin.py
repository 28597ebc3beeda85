"""A plugin for PostgreSQL in the form of py-volley's documents, between two tables."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from tests.servers.postgres import PostgresServer

PLUGIN = '''
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Optional

import psycopg

from volley.connectors.base import BaseConsumer, BaseProducer
from volley.data_models import QueueMessage
from volley.logging import logger


@dataclass
class MyPGConsumer(BaseConsumer):
    def __post_init__(self) -> None:
        self.session = psycopg.connect(self.host, autocommit=True)

    def consume(self) -> Optional[QueueMessage]:
        row = self.session.execute(
            f"""UPDATE {self.queue_name} SET visible = false WHERE request_id =
            (SELECT request_id FROM {self.queue_name} WHERE visible LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING request_id, max_plus"""
        ).fetchone()
        if row is None:
            return None
        return QueueMessage(message_context=row[0], message={"results": [{"request_id": row[0], "max_plus": row[1]}]})

    def on_success(self, message_context: str) -> None:
        self.session.execute(
            f"DELETE FROM {self.queue_name} WHERE request_id = %s AND NOT visible", [message_context]
        )

    def on_fail(self, message_context: str) -> None:
        self.session.execute(f"UPDATE {self.queue_name} SET visible = true WHERE request_id = %s", [message_context])

    def shutdown(self) -> None:
        self.session.close()


@dataclass
class MyPGProducer(BaseProducer):
    def __post_init__(self) -> None:
        self.session = psycopg.connect(self.host, autocommit=True)

    def produce(self, queue_name: str, message: Any, message_context: Any, **kwargs: Any) -> bool:
        logger.info(f"produced message to: {queue_name=}")
        self.session.execute(
            f"INSERT INTO {queue_name} VALUES (%s, %s, %s, true)",
            [message["request_id"], message["max_plus"], datetime.now()],
        )
        return True

    def shutdown(self) -> None:
        self.session.close()
'''

APP = """
import os

from volley import Engine
from volley.data_models import GenericMessage


def queue(table):
    return {
        "value": table,
        "data_model": "volley.data_models.GenericMessage",
        "model_handler": "volley.models.PydanticModelHandler",
        "serializer": "disabled",
        "producer": "my_plugin.MyPGProducer",
        "consumer": "my_plugin.MyPGConsumer",
        "config": {"host": os.environ["PG"]},
    }


app = Engine(
    app_name="plugged",
    input_queue="postgres_queue",
    output_queues=["results"],
    queue_config={"postgres_queue": queue("pg_queue_table"), "results": queue("pg_results")},
    metrics_port=None,
    poll_interval_seconds=0.1,
)


@app.stream_app
def plus(message):
    (row,) = message.results
    return [("results", GenericMessage(request_id=row["request_id"], max_plus=row["max_plus"] + 1))]
"""


def test_a_plugin_as_py_volley_has_it_runs_with_the_package_renamed(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`request_id` and `max_plus` go from one table to the other: the producer gets a dict."""
    from penstock.config.model import WorkerSettings
    from penstock.worker.worker import Worker

    dsn = postgres.fresh()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in ("pg_queue_table", "pg_results"):
            connection.execute(
                f"CREATE TABLE {table} (request_id text, max_plus float, message_sent_at timestamp, visible bool)"
            )
        connection.execute(
            "INSERT INTO pg_queue_table SELECT 'request ' || n, n, now(), true FROM generate_series(1, 20) n"
        )
        (tmp_path / "my_plugin.py").write_text(PLUGIN.replace("volley", "penstock"))
        (tmp_path / "plugged_app.py").write_text(APP.replace("volley", "penstock"))
        monkeypatch.setenv("PG", dsn)
        monkeypatch.syspath_prepend(str(tmp_path))

        Worker([import_module("plugged_app").app], WorkerSettings(), drain=True).run()

        rows = connection.execute("SELECT request_id, max_plus FROM pg_results").fetchall()
        left = connection.execute("SELECT count(*) FROM pg_queue_table").fetchone()
    assert sorted(rows) == sorted((f"request {n}", n + 1) for n in range(1, 21))
    assert left == (0,)
