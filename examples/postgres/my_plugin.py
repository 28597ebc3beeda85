"""A consumer and a producer for a table of one's own, one message at a time. Plain classes: they derive from nothing.

The table is a queue: a row waits while `visible`, is worked on while not, and is deleted when it is done. A row whose
worker died is taken by another one after `GIVE_UP`.
"""

import json
from typing import Any

import psycopg
from psycopg import sql

from penstock import QueueMessage
from penstock.errors import NotConnected

GIVE_UP = "5 minutes"

CLAIM = sql.SQL("""
    UPDATE {table} SET visible = false, taken_at = now()
    WHERE id = (
        SELECT id FROM {table}
        WHERE visible OR taken_at < now() - interval {give_up}
        ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING id, request_id, max_plus, message_sent_at
""")
DELETE = sql.SQL("DELETE FROM {table} WHERE id = %s")
SHOW = sql.SQL("UPDATE {table} SET visible = true WHERE id = %s")
INSERT = sql.SQL("INSERT INTO {table} (request_id, max_plus, message_sent_at) VALUES (%s, %s, %s)")


class Table:
    """One table on a connection that is opened when it is needed, and again when it was lost."""

    def __init__(self, name: str, dsn: str) -> None:
        self._names = {"table": sql.Identifier(name), "give_up": sql.Literal(GIVE_UP)}
        self._dsn = dsn
        self._connection: psycopg.Connection[Any] | None = None

    def run(self, statement: sql.SQL, *parameters: Any) -> psycopg.Cursor[Any]:
        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(self._dsn, autocommit=True)
            return self._connection.execute(statement.format(**self._names), parameters)
        except psycopg.OperationalError as error:
            # Penstock waits and calls again; any other error stops the engine.
            raise NotConnected(f"PostgreSQL: {error}") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class MyPGConsumer:
    """Takes rows, oldest first."""

    def __init__(self, queue_name: str, host: str | None = None, config: dict[str, Any] | None = None) -> None:
        self._table = Table(queue_name, (config or {}).get("dsn") or f"host={host}")

    def consume(self) -> QueueMessage | None:
        row = self._table.run(CLAIM).fetchone()
        if row is None:
            return None
        row_id, request_id, max_plus, sent_at = row
        body = {"request_id": request_id, "max_plus": max_plus, "message_sent_at": sent_at.isoformat()}
        return QueueMessage(message_context=row_id, message=json.dumps(body).encode())

    def on_success(self, message_context: int) -> None:
        self._table.run(DELETE, message_context)

    def on_fail(self, message_context: int) -> None:
        self._table.run(SHOW, message_context)

    def shutdown(self) -> None:
        self._table.close()


class MyPGProducer:
    """Adds rows."""

    def __init__(self, queue_name: str, host: str | None = None, config: dict[str, Any] | None = None) -> None:
        self._table = Table(queue_name, (config or {}).get("dsn") or f"host={host}")

    def produce(self, queue_name: str, message: bytes, message_context: Any, **options: Any) -> bool:  # noqa: ARG002
        body = json.loads(message)
        self._table.run(INSERT, body["request_id"], body["max_plus"], body["message_sent_at"])
        return True

    def shutdown(self) -> None:
        self._table.close()
