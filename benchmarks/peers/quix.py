"""Quix Streams: `python -m benchmarks.peers.quix BOOTSTRAP SOURCE TARGET MESSAGES`."""

from __future__ import annotations

import sys

from quixstreams import Application

from benchmarks.peers.counted import Counted
from benchmarks.work import Reading


def main(bootstrap: str, source: str, target: str, messages: int) -> None:
    """Run an application until it has called the function `messages` times."""
    work = Counted(messages)
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{target}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="ERROR",
    )
    read = app.topic(source, value_deserializer="json")
    write = app.topic(target, value_serializer="json")
    frame = app.dataframe(read)
    frame = frame.apply(lambda value: work(Reading.model_validate(value)).model_dump())
    frame.to_topic(write)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
