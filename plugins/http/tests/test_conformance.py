"""`http.poll` and `http.webhook` keep every promise, each proved by the other on a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.servers.feed import FeedServer

from penstock.message import Record
from penstock_kit import BackendFixture, ConnectorConformance, free_port
from penstock_kit.kit import Kit


class HttpBackend(BackendFixture):
    """Queues on the test server; the files that keep the places are the test's own."""

    timeout = 60.0  # 2,500 requests, one after the other, on a busy machine
    idle_timeout = 0.5
    cannot: ClassVar = {
        "freeze": "the lock of the file `state` is its owner's for as long as that process lives",
        "processes:test_a_blocked_worker_does_not_fill_its_memory": (
            "96 MB would be 9,600 requests; what is fetched ahead is one page, of at most `max_body`"
        ),
    }

    def __init__(self, server: FeedServer, directory: Path) -> None:
        self.server = server
        self._directory = directory

    def config(self, queue: str, group: str | None = None, **over: Any) -> dict[str, Any]:  # noqa: ARG002
        return self._config(f"{self.server.url}/{queue}", queue, over)

    def _config(self, url: str, queue: str, over: dict[str, Any]) -> dict[str, Any]:
        options = {
            "interval": 0.05,
            "items": "",
            "item_id": "/id",
            "cursor": {"from": "item", "pointer": "/id", "param": "after"},
            "state": str(self._directory / queue),
            "concurrency": 1,
            "timeout": 5.0,
            "breaker_failures": 0,
        }
        return {"connector": "http-pair", "value": url, "config": options | over}

    def nowhere(self, queue: str) -> dict[str, Any]:
        return self._config(f"http://127.0.0.1:{free_port()}/{queue}", queue, {})

    def refusing(self, queue: str) -> tuple[dict[str, Any], Record]:
        return self.config(queue), Record(b"REFUSE")


@pytest.mark.timeout(300)  # one request a message, and 3,000 messages
class TestHttp(ConnectorConformance):
    """One owner of the place at a time."""

    connector = "http-pair"

    @pytest.fixture
    def backend(self, feed_server: FeedServer, tmp_path: Path) -> BackendFixture:
        return HttpBackend(feed_server, tmp_path)

    @pytest.mark.xfail(strict=True, reason="one worker reads a feed, the others stand by until it stops")
    def test_consumers_share_a_queue(self, kit: Kit) -> None:
        kit.timeout = 5.0  # what does not come is waited for so long
        super().test_consumers_share_a_queue(kit)

    @pytest.mark.xfail(strict=True, reason="the pair is of the tests; the plugin's own cost is in test_plugin.py")
    def test_the_plugin_is_light(self, kit: Kit) -> None:
        super().test_the_plugin_is_light(kit)
