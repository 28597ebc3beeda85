"""What Penstock itself costs: the same work between two queues in memory, without a broker.

python -m benchmarks.penstock_app.memory MESSAGES [sync|async|batch]
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak, bodies
from penstock import Engine
from penstock.message import Record
from penstock_memory.namespaces import queue


def main(messages: int, kind: str = "sync") -> None:
    """Fill a queue, run an engine until it has settled all of it, print the result."""
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "memory", "batch": kind == "batch"},
            "target": {"connector": "memory", "data_model": Peak},
        },
    )
    add_function(app, kind)
    queue("default", "source").append([Record(body, key) for key, body in bodies(messages)], 0)
    watch.run(app, messages)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
