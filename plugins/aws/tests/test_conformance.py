"""The connectors `sqs` and `sqs.fifo` keep every promise, on a server that speaks SQS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pytest
from tests.servers.sqs import AwsServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance

LATER = "ElasticMQ writes its file half a second after it answers; `nox -s conformance` lets it write at once"


class SqsBackend(BackendFixture):
    """Queues on the test server."""

    connector = "sqs"
    timeout = 60.0  # seconds; the server takes some to start
    idle_timeout = 1.2  # a request waits for a second at least
    largest_body = 700_000  # bytes grow by a third in base64, and a message has 1 MiB
    short_lease: ClassVar = {"visibility_timeout": 4}
    cannot: Mapping[str, str] = MappingProxyType({})

    def __init__(self, server: AwsServer) -> None:
        self._server = server
        if server.durable:
            self.server = server.process
            self.cannot = {} if server.synced else dict.fromkeys(("restart", "stop"), LATER)
        else:
            reason = "this server is not ours, or forgets its messages"
            self.cannot = dict.fromkeys(("restart", "stop", "pause"), reason)

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        name = f"{queue}{self.suffix}"
        options = {**self._server.config(), "visibility_timeout": 15, "wait_time": 1, "timeout": 30.0, "create": True}
        return {"connector": self.connector, "value": name, "config": {**options, **over}}

    suffix = ""

    def nowhere(self, queue: str) -> dict[str, Any]:
        return self.config(queue, endpoint_url="http://127.0.0.1:9")

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(bytes(1_040_000))


class FifoBackend(SqsBackend):
    """FIFO queues, whose message groups are the keys."""

    connector = "sqs.fifo"
    suffix = ".fifo"
    holds_up_keys = True

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:
        # 2,500 messages of as many groups take this server 20 s.
        return super().config(queue, group, **{"visibility_timeout": 60, **over})


@pytest.mark.filterwarnings("ignore:Sending a large body")  # a record of a megabyte, which SQS refuses
class TestSqs(ConnectorConformance):
    """Standard queues."""

    connector = "sqs"

    @pytest.fixture
    def backend(self, sqs_server: AwsServer) -> BackendFixture:
        return SqsBackend(sqs_server)


@pytest.mark.skipif("PENSTOCK_CONFORMANCE_FULL" not in os.environ, reason="the second suite: nox -s conformance")
@pytest.mark.filterwarnings("ignore:Sending a large body")
class TestFifo(ConnectorConformance):
    """FIFO queues, on fauxqs: ElasticMQ needs seconds to answer where there are hundreds of groups."""

    connector = "sqs.fifo"

    @pytest.fixture
    def backend(self, sns_server: AwsServer) -> BackendFixture:
        return FifoBackend(sns_server)
