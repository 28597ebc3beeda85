"""The same work under Penstock, between two topics of Pub/Sub.

python -m benchmarks.penstock_app.pubsub ADDRESS PROJECT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(address: str, project: str, source: str, target: str, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    queue = {"connector": "pubsub", "config": {"emulator": address, "project": project}}
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
    main(*sys.argv[1:5], int(sys.argv[5]))
