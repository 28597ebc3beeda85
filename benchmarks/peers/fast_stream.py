"""FastStream over confluent-kafka, with an input acknowledged after its output was sent.

python -m benchmarks.peers.fast_stream BOOTSTRAP SOURCE TARGET MESSAGES
"""

from __future__ import annotations

import asyncio
import sys

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker

from benchmarks.peers.counted import Counted
from benchmarks.work import Peak, Reading


def main(bootstrap: str, source: str, target: str, messages: int) -> None:
    """Run an application until it has called the function `messages` times."""
    work = Counted(messages)
    broker = KafkaBroker(bootstrap, allow_auto_create_topics=False, logger=None)

    @broker.subscriber(
        source, group_id=f"faststream-{target}", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    @broker.publisher(target)
    async def run(reading: Reading) -> Peak:
        return work(reading)

    asyncio.run(FastStream(broker, logger=None).run())


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
