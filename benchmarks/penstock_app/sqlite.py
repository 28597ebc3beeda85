"""The same work under Penstock, between two queues in an SQLite file.

python -m benchmarks.penstock_app.sqlite PATH MESSAGES
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(path: str, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    # The hand-written loop does not wait for the disk either.
    place = {"path": path, "synchronous": "normal"}
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "sqlite", "config": place},
            "target": {"connector": "sqlite", "config": place, "data_model": Peak},
        },
    )
    add_function(app, "sync")
    watch.run(app, messages)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
