"""What `penstock check --connect` says of brokers, as they are."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from tests.servers.kafka.server import PASSWORD, USER

from penstock.operations.probe import ProbedQueue, probe
from penstock.options import Role
from penstock.standalone import resolve


def ask(role: Role, topic: str, **config: Any) -> ProbedQueue:
    """The answer about a queue."""
    queue = resolve({"connector": "kafka", "value": topic, "config": {"group.id": "probe", **config}}, role)

    async def main() -> ProbedQueue:
        [found] = [each async for each in probe([queue])]
        return found

    return asyncio.run(main())


def test_a_topic_that_is_there_and_one_that_is_not(bench: Any) -> None:
    """In both roles; no topic is created."""
    topic, server = bench.topic(), {"bootstrap.servers": bench.server.bootstrap}

    for role in ("input", "output"):
        found = ask(role, topic, **server)
        assert found.ok, found.text
        assert f"topic {topic!r} exists" in found.text
        missing = ask(role, f"{topic}-not", **server)
        assert not missing.ok
        assert "create the topic, or correct the queue's 'value'" in missing.text
    assert f"{topic}-not" not in AdminClient(server).list_topics(timeout=10).topics


def test_rights_and_the_group_are_asked_and_none_is_joined(real_bench: Any) -> None:
    """The group is there without a member afterwards."""
    found = ask("input", real_bench.topic(), **{"bootstrap.servers": real_bench.server.bootstrap})

    assert found.ok
    assert "may read" in found.text
    assert "group 'probe' can be read, and has 0 members" in found.text


def test_brokers_that_are_away_or_never_answer() -> None:
    """Within the connector's own timeout."""
    away = ask("output", "t", **{"bootstrap.servers": "127.0.0.1:1", "connect_timeout": 1})
    assert not away.ok
    assert "127.0.0.1:1" in away.text
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        found = ask("input", "t", **{"bootstrap.servers": address, "connect_timeout": 1})
    assert not found.ok
    assert time.monotonic() - started < 12


def test_a_wrong_password(real_bench: Any) -> None:
    """The keys are named, and never the password."""
    if real_bench.server.sasl_bootstrap is None:
        pytest.skip("the Kafka of PENSTOCK_TEST_KAFKA has no user that the tests know")
    sasl = {
        "bootstrap.servers": real_bench.server.sasl_bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.username": USER,
    }
    topic = real_bench.topic()

    found = ask("input", topic, **sasl, **{"sasl.password": "hunter2"})
    assert not found.ok
    assert "correct 'sasl.username' and 'sasl.password'" in found.text
    assert "hunter2" not in found.text
    assert ask("input", topic, **sasl, **{"sasl.password": PASSWORD}).ok
