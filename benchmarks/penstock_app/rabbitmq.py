"""The same work under Penstock, between two quorum queues of RabbitMQ.

python -m benchmarks.penstock_app.rabbitmq HOST PORT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(host: str, port: str, source: str, target: str, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    place = {"host": host, "port": int(port)}
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "rabbitmq", "value": source, "config": place},
            "target": {"connector": "rabbitmq", "value": target, "config": place, "data_model": Peak},
        },
    )
    add_function(app, "sync")
    watch.run(app, messages)


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
