"""The connector `kafka.share` keeps every promise, on a real broker."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from plugins.kafka.tests.test_conformance import LARGEST, KafkaBackend
from tests.servers.kafka.server import KafkaServer

from penstock_kit import BackendFixture, ConnectorConformance

LOCK = 20.0  # seconds for which a message belongs to a member of a share group
LONG_LOCK = 60.0  # for tests that take many messages before they settle the first, on a busy machine
KEEPS_ALL = ("many-messages", "every-group", "members-of-a-group")  # beginnings of the queues of those tests


class ShareBackend(KafkaBackend):
    """The same topics, by a share group."""

    timeout = 40.0  # each partition whose messages are kept needs another member, and each of those has to join
    settled_late = 0
    frozen_after = LOCK + 1.0
    cannot: ClassVar = {
        "lease": "the client cannot renew a lock, so a message is a worker's for `share.record.lock.duration.ms`",
    }

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        lock = LONG_LOCK if queue.startswith(KEEPS_ALL) else LOCK
        options = {
            "bootstrap.servers": self._server.bootstrap,
            "group.id": f"{queue}-{group or 'main'}",
            "group": {"share.record.lock.duration.ms": int(lock * 1_000), "share.delivery.count.limit": 25},
            "connect_timeout": 5.0,
            "consumer": {"reconnect.backoff.max.ms": 500},
            "producer": {"message.max.bytes": LARGEST, "reconnect.backoff.max.ms": 500},
        }
        return {"connector": "kafka.share", "value": queue, "config": {**options, **over}}


class TestKafkaShare(ConnectorConformance):
    """A share group on the same broker."""

    connector = "kafka.share"

    @pytest.fixture
    def backend(self, real_kafka: KafkaServer) -> BackendFixture:
        return ShareBackend(real_kafka)

    @pytest.mark.xfail(strict=True, reason="a share group promises no order; with one quiet worker it comes by chance")
    def test_messages_of_a_key_come_in_the_order_they_were_produced(self, kit: Any) -> None:
        super().test_messages_of_a_key_come_in_the_order_they_were_produced(kit)

    @pytest.mark.xfail(strict=True, reason="the client cannot renew a lock: raise share.record.lock.duration.ms")
    def test_a_function_that_takes_long_keeps_its_messages(self, kit: Any) -> None:
        super().test_a_function_that_takes_long_keeps_its_messages(kit)
