"""Two loops over psycopg, written by hand.

    python -m benchmarks.raw.postgres DSN MESSAGES leased|transaction

`leased` claims 1,000 rows with a token, works, stores the outputs, and deletes what still has its token: at least once,
and no transaction is open while the function runs. `transaction` does all of it in one: exactly once.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

import psycopg

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

BATCH = 1_000
CLAIM = """
WITH taken AS (
    SELECT id FROM source WHERE visible_at IS NULL ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE source SET visible_at = now() + interval '60 seconds', token = %s FROM taken WHERE source.id = taken.id
RETURNING source.id, body, key
"""
TAKE = """
WITH taken AS (SELECT id FROM source WHERE visible_at IS NULL ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
DELETE FROM source USING taken WHERE source.id = taken.id RETURNING source.id, body, key
"""
STORE = "INSERT INTO target (body, key) SELECT * FROM unnest(%s::bytea[], %s::bytea[])"
SETTLE = "DELETE FROM source WHERE id = ANY(%s) AND token = %s"


def main(dsn: str, messages: int, kind: str) -> None:
    """Work off `messages` rows, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    clock, done = Clock(), 0

    def outputs(rows: list[Any]) -> tuple[list[bytes], list[bytes]]:
        return [encode(peak(decode(body))) for _id, body, _key in rows], [key for _id, _body, key in rows]

    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        clock.go()
        while done < messages:
            if kind == "leased":
                token = uuid.uuid4()
                rows = cursor.execute(CLAIM, (BATCH, token)).fetchall()
                cursor.execute(STORE, outputs(rows))
                cursor.execute(SETTLE, ([row[0] for row in rows], token))
            else:
                with connection.transaction():
                    rows = cursor.execute(TAKE, (BATCH,)).fetchall()
                    cursor.execute(STORE, outputs(rows))
            done += len(rows)
    clock.show(done)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
