"""kill -9 in the middle: every input has all its outputs, and duplicates stay within the documented bound."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import redis
from rsmq import RedisSMQ
from tests.end_to_end.workers import APPS, wait_until, worker
from tests.servers.kafka.server import KafkaServer
from tests.servers.redis import RedisServer

from penstock import BlockingQueues

MESSAGES = 20_000
BY_PYRSMQ = 1_000  # stored by the other client, one by one; the rest in bulk
KILLS = 3
IN_FLIGHT = 500
SEED = 20261121
COMMIT_INTERVAL = 0.2  # seconds
RATE = 10_000  # messages a second that apps/fan_out.py can do at most: it sleeps 0.1 ms for each


def survive_kills(tmp_path: Path, produced: Callable[[], int], settled: Callable[[], bool]) -> None:
    """Kill the worker at three random moments of its work, each time start another, and wait until all is settled."""
    chance = random.Random(SEED)
    moments = sorted(chance.uniform(0.05, 0.9) for _ in range(KILLS))
    for moment in moments:
        with worker(APPS / "fan_out.py", "--config", "queues.yml", cwd=tmp_path) as running:
            enough = int(moment * MESSAGES)
            wait_until(lambda enough=enough: produced() >= enough, f"{enough} outputs", [running])  # type: ignore[misc]
            running.kill()
    with worker(APPS / "fan_out.py", "--config", "queues.yml", cwd=tmp_path) as running:
        wait_until(settled, "everything settled", [running])
        code, _seconds = running.stop()
        assert code == 0, running.output


def assert_complete(bodies: Iterable[bytes], bound: int) -> None:
    """Assert that every id is there, with at most `bound` duplicates."""
    seen = Counter(json.loads(body)["id"] for body in bodies)
    missing = MESSAGES - len(seen)
    assert missing == 0, f"{missing} inputs have no output"
    duplicates = seen.total() - len(seen)
    assert duplicates <= bound, f"{duplicates} duplicates, the bound is {bound}"


@pytest.mark.timeout(180)
def test_rsmq_to_rsmq_survives_kills(redis_server: RedisServer, tmp_path: Path) -> None:
    """20,000 messages, two outputs, three kills: nothing lost, at most what was in flight sent twice."""
    source, left, right = (redis_server.queue() for _ in range(3))
    (tmp_path / "queues.yml").write_text(
        f"""
queues:
  numbers:
    profile: rsmq
    value: {source}
    config: &redis {{host: {redis_server.host}, port: {redis_server.port}, vt: 3}}
  left: {{profile: rsmq, value: {left}, config: *redis}}
  right: {{profile: rsmq, value: {right}, config: *redis}}
engine: {{max_in_flight: {IN_FLIGHT}}}
"""
    )
    client = redis.Redis(redis_server.host, redis_server.port)
    queue = RedisSMQ(client=client, qname=source)
    queue.createQueue(vt=3).execute()
    for name in (left, right):
        RedisSMQ(client=client, qname=name).createQueue().execute()
    for number in range(BY_PYRSMQ):
        queue.sendMessage(message=json.dumps({"id": number}), quiet=True).execute()
    where = {"host": redis_server.host, "port": redis_server.port}
    with BlockingQueues({"numbers": {"profile": "rsmq", "value": source, "config": where}}) as queues:
        queues.send_batch("numbers", [{"id": number} for number in range(BY_PYRSMQ, MESSAGES)])
    assert client.zcard(f"rsmq:{source}") == MESSAGES

    survive_kills(
        tmp_path,
        produced=lambda: int(client.zcard(f"rsmq:{left}")),
        settled=lambda: client.zcard(f"rsmq:{source}") == 0,
    )

    for name in (left, right):
        stored = client.hgetall(f"rsmq:{name}:Q")
        ids = list(client.zrange(f"rsmq:{name}", 0, -1))
        assert_complete((stored[each] for each in ids), bound=KILLS * IN_FLIGHT)
    client.close()


@pytest.mark.timeout(180)
def test_kafka_to_kafka_survives_kills(real_kafka: KafkaServer, tmp_path: Path) -> None:
    """20,000 messages, two outputs, three kills: nothing lost; twice at most what one commit interval and the messages
    in flight hold."""
    from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
    from confluent_kafka.admin import AdminClient

    source, left, right = (real_kafka.topic() for _ in range(3))
    group = f"group-{source}"
    (tmp_path / "queues.yml").write_text(
        f"""
queues:
  numbers:
    profile: confluent
    value: {source}
    config: {{bootstrap.servers: "{real_kafka.bootstrap}", group.id: {group}, session.timeout.ms: 6000,
             commit_interval: {COMMIT_INTERVAL}}}
  left: {{profile: confluent, value: {left}, config: {{bootstrap.servers: "{real_kafka.bootstrap}"}}}}
  right: {{profile: confluent, value: {right}, config: {{bootstrap.servers: "{real_kafka.bootstrap}"}}}}
engine: {{max_in_flight: {IN_FLIGHT}}}
"""
    )
    producer = Producer({"bootstrap.servers": real_kafka.bootstrap, "linger.ms": 5, "log_level": 2})
    for number in range(MESSAGES):
        producer.produce(source, json.dumps({"id": number}), key=str(number))
        producer.poll(0)
    producer.flush()
    reader = Consumer({"bootstrap.servers": real_kafka.bootstrap, "group.id": "reader", "log_level": 2})
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap, "log_level": 2})
    partitions = [TopicPartition(source, number) for number in range(4)]

    def high(topic: str) -> int:
        return sum(reader.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in range(4))

    def settled() -> bool:
        [result] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, partitions)]).values()
        return sum(max(0, each.offset) for each in result.result().topic_partitions) == MESSAGES

    survive_kills(tmp_path, produced=lambda: high(left), settled=settled)

    for topic in (left, right):
        expected, bodies = high(topic), []
        reader.assign([TopicPartition(topic, number, 0) for number in range(4)])
        while len(bodies) < expected:
            for message in reader.consume(1_000, 1.0):
                assert message.error() is None, message.error()
                bodies.append(message.value())
        assert_complete(bodies, bound=KILLS * (IN_FLIGHT + int(RATE * COMMIT_INTERVAL)))
    reader.close()


@pytest.mark.parametrize("connector", ["kafka", "redis.streams"])
def test_what_a_killed_program_had_read_comes_again(connector: str, request: pytest.FixtureRequest) -> None:
    """A program without an engine, between `read` and `done`: every message is delivered to the next one."""
    queues = {"orders": {"connector": connector, **_place(connector, request)}}
    program = f"""
import os, signal
from penstock import BlockingQueues
with BlockingQueues({queues!r}) as queues:
    read = []
    for batch in queues.read("orders", batch=5):
        read += batch.objects
        if len(read) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
"""
    with BlockingQueues(queues) as first:
        first.send_batch("orders", list(range(5)))
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == -9

    seen: list[int] = []
    with BlockingQueues(queues) as second:
        for delivery in second.read("orders"):
            seen.append(delivery.object)
            delivery.done()
            if len(seen) == 5:
                break
    assert seen == list(range(5))


def test_what_is_settled_takes_nothing_with_it(real_kafka: KafkaServer) -> None:
    """A program is killed after a list, and one of the next list, was committed: all the others come again."""
    topic = real_kafka.topic(partitions=1)
    session = {"consumer": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}}
    place = {"bootstrap.servers": real_kafka.bootstrap, "group.id": topic, "commit_interval": 0.2, **session}
    queues = {"orders": {"connector": "kafka", "value": topic, "config": place}}
    program = f"""
import os, signal, time
from confluent_kafka import Consumer, TopicPartition
from penstock import BlockingQueues
group = Consumer({{"bootstrap.servers": {real_kafka.bootstrap!r}, "group.id": {topic!r}}})
with BlockingQueues({queues!r}) as queues:
    reading = queues.read("orders", batch=4, wait=60)
    assert next(reading).done() == 4
    held = next(reading)
    assert held[3].done()
    while group.committed([TopicPartition({topic!r}, 0)])[0].offset < 4:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with BlockingQueues(queues) as first:
        first.send_batch("orders", list(range(10)))
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == -9

    seen: list[int] = []
    with BlockingQueues(queues) as second:
        for delivery in second.read("orders"):
            seen.append(delivery.object)
            delivery.done()
            if delivery.object == 9:
                break
    assert [number for number in seen if number != 7] == [4, 5, 6, 8, 9]


def _place(connector: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    if connector == "kafka":
        kafka: KafkaServer = request.getfixturevalue("real_kafka")
        topic = kafka.topic(partitions=1)
        # The broker hands a killed member's partitions over when its session ends.
        session = {"consumer": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}}
        return {"value": topic, "config": {"bootstrap.servers": kafka.bootstrap, "group.id": topic, **session}}
    server: RedisServer = request.getfixturevalue("redis_server")
    return {"value": server.queue(), "config": {"host": server.host, "port": server.port, "lease": 1}}
