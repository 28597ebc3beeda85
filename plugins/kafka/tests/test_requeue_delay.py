"""A message that is requeued with a delay waits in the connector, and takes no place in its engine."""

from __future__ import annotations

from typing import Any

from core.tests.engine_fixture import drain

from penstock import Engine
from penstock.errors import Retry
from penstock.message import QueueMessage


def test_others_go_on_while_a_message_waits_for_its_next_attempt(bench: Any) -> None:
    """Also with `max_in_flight: 1`; and a drain waits for the message that waits."""
    topic = bench.topic()
    bench.fill(topic, [b"0", b"1", b"2"])
    config = {"bootstrap.servers": bench.server.bootstrap, "group.id": bench.group}
    app = Engine("in", queue_config={"in": {"connector": "kafka", "value": topic, "config": config}}, max_in_flight=1)
    calls: list[tuple[int, int]] = []

    def function(number: int, msg_ctx: QueueMessage) -> None:
        calls.append((number, msg_ctx.attempts))
        if calls == [(0, 1)]:
            raise Retry(1.5)

    app.stream_app(function)

    drain(app)

    assert calls == [(0, 1), (1, 1), (2, 1), (0, 2)]
    assert bench.committed(topic) == 3
