"""Makes the table anew."""

import os

import psycopg

with psycopg.connect(os.environ["POSTGRES_DSN"]) as connection:
    connection.execute("DROP TABLE IF EXISTS pg_queue_table")
    connection.execute("""
        CREATE TABLE pg_queue_table (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            request_id text NOT NULL,
            max_plus double precision NOT NULL,
            message_sent_at timestamptz NOT NULL,
            visible boolean NOT NULL DEFAULT true,
            taken_at timestamptz
        )
    """)
