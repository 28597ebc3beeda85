"""A worker of FastStream, and then one of Penstock, in one consumer group, as the page from FastStream says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.end_to_end.takeover import change_the_worker
from tests.servers.kafka.server import KafkaServer
from tests.servers.other_library import python_with

IN_HAND = 30
"""Messages: FastStream commits after each one, and does not wait for the broker's answer."""

OLD = """
import asyncio, os

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker

broker = KafkaBroker(os.environ["KAFKA"])


@broker.subscriber(
    os.environ["NUMBERS"], group_id=os.environ["GROUP"], auto_offset_reset="earliest", ack_policy=AckPolicy.ACK
)
@broker.publisher(os.environ["SEEN"])
async def pass_on(message: dict) -> dict:
    await asyncio.sleep(float(os.environ["PACE"]))
    return {"n": message["n"], "by": "old"}


asyncio.run(FastStream(broker).run())
"""

NEW = """
import asyncio, os

from penstock import Engine

kafka = {"bootstrap.servers": os.environ["KAFKA"]}
strategy = {"partition.assignment.strategy": "roundrobin"}
app = Engine(
    "numbers",
    ["seen"],
    queue_config={
        "numbers": {
            "value": os.environ["NUMBERS"],
            "profile": "confluent",
            "config": {**kafka, **strategy, "group.id": os.environ["GROUP"]},
        },
        "seen": {"value": os.environ["SEEN"], "profile": "confluent", "config": kafka},
    },
    metrics_port=None,
)


@app.stream_app
async def pass_on(message: dict):
    await asyncio.sleep(float(os.environ["PACE"]))
    return "seen", {"n": message["n"], "by": "new"}


if __name__ == "__main__":
    pass_on()
"""


@pytest.fixture(scope="session")
def faststream() -> Path:
    """The interpreter of an environment with FastStream."""
    return python_with("faststream-0.7.8", "faststream[confluent]==0.7.8")


@pytest.mark.timeout(300)  # with the start of a broker
def test_a_group_goes_on_without_loss_while_the_worker_is_changed(
    faststream: Path, real_kafka: KafkaServer, tmp_path: Path
) -> None:
    """Both at once, then Penstock alone: every message is seen; twice only what FastStream had in its hands."""
    change_the_worker(real_kafka, tmp_path, (faststream, OLD), NEW, may_come_twice=IN_HAND)
