"""The same work under Penstock, between two queues in PostgreSQL.

python -m benchmarks.penstock_app.postgres DSN MESSAGES [at_least_once|exactly_once]
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(dsn: str, messages: int, delivery: str = "at_least_once") -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "postgres", "config": {"dsn": dsn}},
            "target": {"connector": "postgres", "config": {"dsn": dsn}, "data_model": Peak},
        },
        delivery=delivery,  # type: ignore[arg-type]  (a word of the command line)
    )
    add_function(app, "sync")
    watch.run(app, messages)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
