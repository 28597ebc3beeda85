"""The same work under Penstock, with its defaults.

python -m benchmarks.penstock_app.kafka BOOTSTRAP SOURCE TARGET MESSAGES [sync|async|batch|share]
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(bootstrap: str, source: str, target: str, messages: int, kind: str = "sync") -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    servers = {"bootstrap.servers": bootstrap}
    consumer = servers | {"group.id": f"penstock-{target}"}
    reader = "kafka.share" if kind == "share" else "kafka"
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": reader, "value": source, "config": consumer, "batch": kind == "batch"},
            "target": {"connector": "kafka", "value": target, "config": servers, "data_model": Peak},
        },
    )
    add_function(app, kind)
    watch.run(app, messages)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), *sys.argv[5:])
