"""The same work under Penstock, from a feed to a webhook.

python -m benchmarks.penstock_app.http SOURCE TARGET FILE MESSAGES
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(source: str, target: str, place: str, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    feed = {"items": "", "item_id": "/id", "cursor": {"from": "link"}, "params": {"plain": 1}, "state": place}
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "http.poll", "value": source, "config": feed},
            "target": {"connector": "http.webhook", "value": target, "data_model": Peak},
        },
    )
    add_function(app, "sync")
    watch.run(app, messages)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
