"""A worker of py-volley, and then one of Penstock, in one consumer group: the same file, with the package renamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.end_to_end.takeover import PACE, change_the_worker
from tests.servers.kafka.server import KafkaServer
from tests.servers.other_library import python_with

COMMIT_INTERVAL = 3.0  # seconds: what py-volley works between two commits may come twice at a handover

APP = """
import os, time

from volley import Engine
from volley.data_models import GenericMessage

kafka = {"bootstrap.servers": os.environ["KAFKA"]}
strategy = {"partition.assignment.strategy": "range,roundrobin"}
queue_config = {
    "numbers": {
        "value": os.environ["NUMBERS"],
        "profile": "confluent",
        "config": {**kafka, **strategy, "group.id": os.environ["GROUP"]},
    },
    "seen": {"value": os.environ["SEEN"], "profile": "confluent", "config": kafka},
}
app = Engine(
    app_name="takeover", input_queue="numbers", output_queues=["seen"], queue_config=queue_config, metrics_port=None
)


@app.stream_app
def pass_on(message):
    time.sleep(float(os.environ["PACE"]))
    return [("seen", GenericMessage(n=message.n, by=os.environ["BY"]))]


if __name__ == "__main__":
    pass_on()
"""


@pytest.fixture(scope="session")
def volley() -> Path:
    """The interpreter of an environment with py-volley."""
    return python_with("py-volley-1.3.1", "py-volley[kafka]==1.3.1")


@pytest.mark.timeout(300)  # with the start of a broker
def test_a_group_goes_on_without_loss_while_the_worker_is_changed(
    volley: Path, real_kafka: KafkaServer, tmp_path: Path
) -> None:
    """Both at once, then Penstock alone: every message is seen; twice only what py-volley had not committed."""
    new = APP.replace("volley", "penstock")
    change_the_worker(real_kafka, tmp_path, (volley, APP), new, may_come_twice=COMMIT_INTERVAL / PACE)
