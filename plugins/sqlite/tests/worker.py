"""A consumer in a process of its own: `worker.py PATH FILE BATCH [hold]`.

It writes each number that it gets to FILE, then settles it, or, with `hold`, does not.
"""

from __future__ import annotations

import os
import sys

from penstock_sqlite.consumer import SqliteConsumer
from penstock_sqlite.options import SqliteOptions


def main(path: str, file: str, batch: int, settles: bool) -> None:
    seen = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    consumer = SqliteConsumer("numbers", SqliteOptions(path=path))
    consumer.connect()
    while True:
        messages = consumer.consume(batch, 60)
        os.write(seen, b"".join((message.message or b"?") + b"\n" for message in messages))
        if settles:
            assert consumer.on_success(messages) == 0


main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "hold" not in sys.argv)
