"""The same work under Penstock, between two streams or two lists in Redis.

python -m benchmarks.penstock_app.redis HOST PORT SOURCE TARGET MESSAGES streams|lists
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(host: str, port: str, source: str, target: str, messages: int, kind: str) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    queue = {"connector": f"redis.{kind}", "config": {"host": host, "port": int(port)}}
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {**queue, "value": source},
            "target": {**queue, "value": target, "data_model": Peak},
        },
    )
    add_function(app, "sync")
    watch.run(app, messages)


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]), sys.argv[6])
