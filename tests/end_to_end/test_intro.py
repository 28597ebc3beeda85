"""The intro example as two processes, between a real Kafka topic and a real RSMQ queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis
from tests.end_to_end.workers import wait_until
from tests.servers.kafka.server import KafkaServer
from tests.servers.redis import RedisServer

INTRO = Path(__file__).parents[2] / "examples" / "intro"
TOPIC, GROUP, QUEUE = "my.kafka.topic.name", "my.consumer.group", "my.redis.output.queue.name"
STOP_WITHIN = 5.0  # seconds


def start(log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """`python app_N.py`, its two streams in two files."""
    command = [sys.executable, f"{log.stem}.py"]
    with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(command, cwd=INTRO, env=environment, stdout=out, stderr=err)


def test_two_processes_pass_numbers_until_one_is_over_ten(
    real_kafka: KafkaServer, redis_server: RedisServer, tmp_path: Path
) -> None:
    """They print the expected output, stop on SIGTERM in time, and leave no message unsettled."""
    from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient

    real_kafka.topic(TOPIC)
    environment = os.environ | {
        "KAFKA_BROKERS": real_kafka.bootstrap,
        "REDIS_HOST": redis_server.host,
        "REDIS_PORT": str(redis_server.port),
        "PYTHONUNBUFFERED": "1",
    }
    logs = [tmp_path / "app_0.out", tmp_path / "app_1.out"]
    processes = [start(log, environment) for log in logs]
    try:
        producer = Producer({"bootstrap.servers": real_kafka.bootstrap, "log_level": 2})
        producer.produce(TOPIC, (INTRO / "messages.jsonl").read_bytes().strip())
        assert producer.flush(10) == 0
        wait_until(lambda: "we are done" in logs[1].read_text(), "the last line of app_1", timeout=60)
        started = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(STOP_WITHIN) for process in processes]
        seconds = time.monotonic() - started
    finally:
        for process in processes:
            process.kill()
            process.wait()

    errors = "".join(log.with_suffix(".err").read_text() for log in logs)
    assert codes == [0, 0], errors
    assert seconds < STOP_WITHIN
    expected = (INTRO / "expected.txt").read_text().splitlines()
    of_app_0 = [line for line in expected if line.startswith(("Received", "the_max"))]
    assert logs[0].read_text().splitlines() == of_app_0, errors
    assert logs[1].read_text().splitlines() == [line for line in expected if line not in of_app_0], errors

    partitions = [TopicPartition(TOPIC, number) for number in range(4)]
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap, "log_level": 2})
    [committed] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, partitions)]).values()
    reader = Consumer({"bootstrap.servers": real_kafka.bootstrap, "group.id": "reader", "log_level": 2})
    produced = [reader.get_watermark_offsets(each, timeout=10)[1] for each in partitions]
    reader.close()
    assert [max(0, each.offset) for each in committed.result().topic_partitions] == produced
    assert sum(produced) == 5
    client = redis.Redis(redis_server.host, redis_server.port)
    assert client.zcard(f"rsmq:{QUEUE}") == 0
    client.close()
