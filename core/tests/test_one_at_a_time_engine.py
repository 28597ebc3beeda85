"""An engine between two classes that are written as the reference's page on plugins shows them."""

from __future__ import annotations

import json
import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from core.tests.foreign import Foreign, RowProducer, Table
from pydantic import BaseModel

from penstock import Engine, QueueConfig, QueueMessage, Worker
from penstock.config.model import WorkerSettings

PLUGIN = """
import json
import sqlite3

from penstock import QueueMessage

refused = []


class Base:
    def __init__(self, queue_name, host=None, config=None):
        # SQLite refuses a connection that is used by another thread than the one that opened it.
        self.table, self.connection = queue_name, sqlite3.connect(host, isolation_level=None)

    def shutdown(self):
        self.connection.close()


class MyConsumer(Base):
    def consume(self):
        claim = f"UPDATE {self.table} SET taken = 1 WHERE id = (SELECT min(id) FROM {self.table} WHERE NOT taken)"
        row = self.connection.execute(f"{claim} RETURNING id, body").fetchone()
        return None if row is None else QueueMessage(message_context=row[0], message=json.loads(row[1]))

    def on_success(self, message_context):
        self.connection.execute(f"DELETE FROM {self.table} WHERE id = ?", [message_context])

    def on_fail(self, message_context):
        self.connection.execute(f"UPDATE {self.table} SET taken = 0 WHERE id = ?", [message_context])


class MyProducer(Base):
    def produce(self, queue_name, message, message_context, **kwargs):
        if b'"n":3' in message and not refused:
            refused.append(message)
            return False
        self.connection.execute(f"INSERT INTO {queue_name} (body) VALUES (?)", [message.decode()])
        return True
"""

QUEUES = """
- name: numbers
  value: numbers_table
  data_model: none
  model_handler: none
  serializer: None
  consumer: rows_plugin.MyConsumer
  config: {host: queues.db}
- name: results
  value: results_table
  data_model: none
  model_handler: none
  serializer: json
  producer: rows_plugin.MyProducer
  config: {host: queues.db}
"""


class Order(BaseModel):
    """A row of the table."""

    id: int
    amount: float


class Doubled(BaseModel):
    """What is inserted."""

    id: int
    amount: float


class OrdersConsumer(Foreign):
    """Selects a row, deletes it when it is done, releases it when it failed."""

    def consume(self) -> QueueMessage | None:
        if not self.table.rows:
            return None
        row = self.table.rows.pop(0)
        return QueueMessage(message_context=row["id"], message=row)

    def on_success(self, message_context: Any) -> None:
        self.table.ask("on_success", message_context)

    def on_fail(self, message_context: Any) -> None:
        self.table.ask("on_fail", message_context)


def test_rows_go_in_and_bytes_come_out() -> None:
    """With the serializer turned off, as the reference has it: the model handler reads the rows."""
    source = Table({"id": 1, "amount": 1.5}, {"id": 2, "amount": 2.5}, {"id": 3, "amount": "much"})
    target, rejected = Table(), Table()
    queues = [
        QueueConfig(
            name="orders",
            value="orders_table",
            consumer=OrdersConsumer,
            serializer="disabled",
            model_handler="pydantic",
            data_model=Order,
            config={"table": source, "host": "db"},
        ),
        QueueConfig(name="doubled", producer=RowProducer, serializer=None, config={"table": target}),
        QueueConfig(
            name="rejects", producer=RowProducer, serializer=None, model_handler=None, config={"table": rejected}
        ),
    ]
    engine = Engine("orders", ["doubled"], dead_letter_queue="rejects", queue_config=queues, metrics_port=None)

    @engine.stream_app
    def double(order: Order, msg_ctx: int) -> list[tuple[str, Doubled]]:
        assert msg_ctx == order.id
        return [("doubled", Doubled(id=order.id, amount=order.amount * 2))]

    Worker([engine], WorkerSettings(), drain=True).run()

    assert source.made_with == [("orders_table", "db", {})]
    assert sorted(source.asked) == ["make", "on_success 1", "on_success 2", "on_success 3", "shutdown"]
    assert target.asked == [
        "make",
        """produce doubled b'{"id":1,"amount":3.0}' None {}""",
        """produce doubled b'{"id":2,"amount":5.0}' None {}""",
        "shutdown",
    ]
    assert len(rejected.asked) == 3
    assert "much" in rejected.asked[1]
    assert "penstock-error-stage" in rejected.asked[1]


def test_classes_named_by_their_paths_move_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the reference registers a plugin in YAML. What the function requeues comes again; what the producer answers
    with False is sent again; nothing is lost, and nothing comes twice."""
    (tmp_path / "rows_plugin.py").write_text(PLUGIN)
    (tmp_path / "queues.yml").write_text(QUEUES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with sqlite3.connect("queues.db", isolation_level=None) as database:
        for table in ("numbers_table", "results_table"):
            database.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, body TEXT, taken INTEGER DEFAULT 0)")
        database.executemany("INSERT INTO numbers_table (body) VALUES (?)", [(f'{{"n":{n}}}',) for n in range(10)])
    engine = Engine("numbers", ["results"], yaml_config_path="queues.yml", metrics_port=None)
    seen: list[int] = []

    @engine.stream_app
    def double(message: bytes) -> list[tuple[str, dict[str, int]]] | bool:
        n = json.loads(message)["n"]
        seen.append(n)
        return False if n == 5 and seen.count(5) < 3 else [("results", {"n": n})]

    Worker([engine], WorkerSettings(), drain=True).run()

    results = database.execute("SELECT body FROM results_table").fetchall()
    assert sorted(json.loads(body)["n"] for (body,) in results) == list(range(10))
    assert seen.count(5) == 3
    assert import_module("rows_plugin").refused == [b'{"n":3}']
    assert database.execute("SELECT count(*) FROM numbers_table").fetchone() == (0,)
    database.close()
