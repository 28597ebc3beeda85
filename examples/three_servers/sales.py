"""Prints the table of the accountants; with `create`, makes it anew."""

import os
import sys

import psycopg

with psycopg.connect(os.environ["POSTGRES_DSN"]) as connection:
    if sys.argv[1:] == ["create"]:
        connection.execute("DROP TABLE IF EXISTS sales")
        connection.execute("CREATE TABLE sales (number integer PRIMARY KEY, cents integer NOT NULL)")
    else:
        for number, cents in connection.execute("SELECT number, cents FROM sales ORDER BY number"):
            print(f"order {number}: {cents} cents")
