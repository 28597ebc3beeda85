"""The same work under Penstock, between two queues of Azure.

python -m benchmarks.penstock_app.azure CONNECTION_STRING SOURCE TARGET MESSAGES servicebus|storage_queue
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(connection: str, source: str, target: str, messages: int, connector: str) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    queue = {"connector": connector, "config": {"connection_string": connection}}
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
    main(*sys.argv[1:4], int(sys.argv[4]), sys.argv[5])
