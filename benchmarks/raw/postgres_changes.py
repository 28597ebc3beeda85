"""A loop over psycopg's replication connection, written by hand: what is there is read, each row is taken out of the
server's bytes and worked on, outputs are stored, then the place in the log is reported.

python -m benchmarks.raw.postgres_changes DSN MESSAGES
"""

from __future__ import annotations

import json
import select
import sys
from contextlib import closing
from struct import Struct

import psycopg

from benchmarks.clock import Clock
from benchmarks.raw.postgres import STORE
from benchmarks.work import Peak, Reading, peak

BATCH = 1_000
START = """START_REPLICATION SLOT source LOGICAL 0/0 (proto_version '1', publication_names '"source"')"""
INSERT, COMMIT = b"I", b"C"
REPORT, END, LENGTH = Struct("!cQQQqB"), Struct("!Q"), Struct("!I")
HEAD = 25  # bytes before the message of pgoutput


def main(dsn: str, messages: int) -> None:
    """Work off `messages` inserted rows, print the result."""
    encode = Peak.__pydantic_serializer__.to_json
    clock, done = Clock(), 0
    with (
        closing(psycopg.connect(dsn, replication="database", autocommit=True, prepare_threshold=None)) as reader,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        cursor = connection.cursor(binary=True)
        reader.execute(START)
        stream = reader.pgconn
        while done < messages:
            rows: list[Reading] = []
            settled = 0
            while len(rows) < BATCH:
                size, data = stream.get_copy_data(1)
                if size == 0:
                    if rows and settled:
                        break
                    select.select([stream.socket], [], [], 1)
                    stream.consume_input()
                    continue
                kind = data[HEAD : HEAD + 1]
                if data[:1] == b"w" and kind == INSERT:
                    rows.append(_reading(bytes(data)))
                elif data[:1] == b"w" and kind == COMMIT:
                    [settled] = END.unpack_from(data, HEAD + 10)
            clock.go()
            keys = [row.user.encode() for row in rows]
            cursor.execute(STORE, ([encode(peak(row)) for row in rows], keys))
            if settled:
                stream.put_copy_data(REPORT.pack(b"r", settled, settled, settled, 0, 0))
                stream.flush()
            done += len(rows)
    clock.show(done)


def _reading(data: bytes) -> Reading:
    values, at = [], HEAD + 8  # kind, relation, "N", count
    for _column in range(4):
        [length] = LENGTH.unpack_from(data, at + 1)
        at += 5
        values.append(data[at : at + length])
        at += length
    number, user, numbers, note = values
    return Reading(id=int(number), user=user.decode(), values=json.loads(numbers), note=note.decode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
