"""Letters to customers, whose addresses are in a database: one pool of connections for the whole worker."""

import sqlite3
from collections.abc import Iterator
from queue import SimpleQueue

from penstock import Engine

app = Engine("orders", ["letters"], "letters", config="queues.yml", concurrency=4)
SIZE = 2


@app.resource
def pool() -> Iterator[SimpleQueue[sqlite3.Connection]]:
    connections: SimpleQueue[sqlite3.Connection] = SimpleQueue()
    for _ in range(SIZE):
        connections.put(sqlite3.connect("customers.db", check_same_thread=False))
    print("the pool is open", flush=True)
    yield connections
    for _ in range(SIZE):
        connections.get().close()
    print("the pool is closed", flush=True)


@app.stream_app
def write(order: dict[str, str], pool: SimpleQueue[sqlite3.Connection]) -> tuple[str, str]:
    connection = pool.get()
    try:
        (city,) = connection.execute("SELECT city FROM customers WHERE name = ?", [order["customer"]]).fetchone()
    finally:
        pool.put(connection)
    return ("letters", f"{order['customer']}, {city}")
