"""Says how many rows wait, in the table and in the queue before it."""

import os

import psycopg

with psycopg.connect(os.environ["POSTGRES_DSN"]) as connection:
    for table in ("pg_queue_table", "penstock_messages"):
        [rows] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        print(f"{table}: {rows} rows left")
