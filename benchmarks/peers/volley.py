"""py-volley: `python -m benchmarks.peers.volley BOOTSTRAP SOURCE TARGET MESSAGES`."""

from __future__ import annotations

import logging
import sys

from volley import Engine, QueueConfig

from benchmarks.peers.counted import Counted
from benchmarks.work import Peak, Reading


def main(bootstrap: str, source: str, target: str, messages: int) -> None:
    """Run an engine until it has called the function `messages` times."""
    logging.disable(logging.WARNING)
    work = Counted(messages)
    group = {"group.id": f"volley-{target}", "auto.offset.reset": "earliest"}
    servers = {"bootstrap.servers": bootstrap}
    app = Engine(
        input_queue="source",
        output_queues=["target"],
        queue_config=[
            QueueConfig(name="source", value=source, profile="confluent", data_model=Reading, config=servers | group),
            QueueConfig(name="target", value=target, profile="confluent", data_model=Peak, config=servers),
        ],
        metrics_port=None,
    )

    @app.stream_app
    def run(reading: Reading) -> list[tuple[str, Peak]]:
        return [("target", work(reading))]

    run()


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
