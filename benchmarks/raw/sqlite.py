"""A loop over sqlite3, written by hand: 1,000 rows a transaction, deleted and stored together.

It takes the rows of Penstock's own table, and holds the file's write lock while it works, so that no other process can.

python -m benchmarks.raw.sqlite PATH MESSAGES
"""

from __future__ import annotations

import sqlite3
import sys

from benchmarks.clock import Clock
from benchmarks.work import Peak, Reading, peak

BATCH = 1_000
SELECT = "SELECT id, body, key FROM penstock_messages ORDER BY id LIMIT ?"


def main(path: str, messages: int) -> None:
    """Work off `messages` rows, print the result."""
    decode = Reading.__pydantic_validator__.validate_json
    encode = Peak.__pydantic_serializer__.to_json
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = normal")
    connection.execute("CREATE TABLE target (id INTEGER PRIMARY KEY, body BLOB, key BLOB)")
    clock, done = Clock(), 0
    clock.go()
    while done < messages:
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(
            "SELECT id, body, key FROM penstock_messages ORDER BY id LIMIT ?", (BATCH,)
        ).fetchall()
        made = [(encode(peak(decode(body))), key) for _id, body, key in rows]
        connection.executemany("INSERT INTO target (body, key) VALUES (?, ?)", made)
        connection.execute("DELETE FROM penstock_messages WHERE id BETWEEN ? AND ?", (rows[0][0], rows[-1][0]))
        connection.execute("COMMIT")
        done += len(rows)
    clock.show(done)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
