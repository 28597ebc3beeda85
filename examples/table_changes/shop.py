"""The application, which knows nothing of webhooks: runs the statements that it is given."""

import os
import sys

import psycopg

with psycopg.connect(os.environ["POSTGRES_DSN"], autocommit=True) as connection:
    for statement in sys.argv[1:]:
        connection.execute(statement)
