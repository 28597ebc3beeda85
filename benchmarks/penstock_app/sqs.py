"""The same work under Penstock, between two queues of SQS.

python -m benchmarks.penstock_app.sqs ENDPOINT SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import sys

from benchmarks import watch
from benchmarks.penstock_app.functions import add_function
from benchmarks.work import Peak
from penstock import Engine


def main(endpoint: str, source: str, target: str, messages: int) -> None:
    """Run an engine until it has settled `messages` messages, print the result."""
    place = {"endpoint_url": endpoint, "region": "eu-west-1", "access_key_id": "test", "secret_access_key": "test"}
    app = Engine(
        "source",
        ["target"],
        queue_config={
            "source": {"connector": "sqs", "value": source, "config": {**place, "wait_time": 1}},
            "target": {"connector": "sqs", "value": target, "config": place, "data_model": Peak},
        },
    )
    add_function(app, "sync")
    watch.run(app, messages)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
