"""The same work under Penstock, from the changes of a table to a queue in PostgreSQL.

python -m benchmarks.penstock_app.postgres_changes DSN MESSAGES
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.work import Peak, Reading, peak
from penstock import Engine
from penstock_postgres import Change


def main(dsn: str, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "postgres.changes", "config": {"dsn": dsn}},
            "target": {"connector": "postgres", "config": {"dsn": dsn, "create": True}, "data_model": Peak},
        },
    )

    @app.stream_app
    def work(change: Change[Reading]) -> list[tuple[str, Peak]]:
        assert change.row is not None
        return [("target", peak(change.row))]

    watch.run(app, messages)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
