"""Writes the database that the example reads."""

import sqlite3

with sqlite3.connect("customers.db") as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS customers (name TEXT PRIMARY KEY, city TEXT)")
    connection.executemany("INSERT OR REPLACE INTO customers VALUES (?, ?)", [("Ann", "Berlin"), ("Bob", "Lima")])
connection.close()
