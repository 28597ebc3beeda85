"""The function with a pool that the test makes: nothing is opened."""

import sqlite3
from queue import SimpleQueue

import letters

from penstock.testing import Harness


def test_a_letter_goes_to_the_city_of_the_customer() -> None:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE TABLE customers AS SELECT 'Ann' AS name, 'Oslo' AS city")
    pool: SimpleQueue[sqlite3.Connection] = SimpleQueue()
    pool.put(connection)

    with Harness(letters.write, resources={"pool": pool}) as harness:
        harness.send("orders", {"customer": "Ann"})
        harness.run()
        assert harness.sent("letters") == ["Ann, Oslo"]
    connection.close()
