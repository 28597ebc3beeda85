"""`Retry(to="tail")` on a topic: the message is the last one, and all is committed."""

from __future__ import annotations

from typing import Any

from core.tests.engine_fixture import drain

from penstock import Engine
from penstock.errors import Retry


def test_a_message_goes_to_the_end_of_its_topic(bench: Any) -> None:
    """With its key, so in its partition."""
    topic = bench.topic()
    bench.fill(topic, [b"0", b"1"], key=b"k")
    config = {"bootstrap.servers": bench.server.bootstrap, "group.id": bench.group}
    app = Engine("in", ["in"], queue_config={"in": {"connector": "kafka", "value": topic, "config": config}})
    calls: list[int] = []

    def function(number: int) -> None:
        calls.append(number)
        if calls == [0]:
            raise Retry(to="tail")

    app.stream_app(function)

    drain(app)

    assert calls == [0, 1, 0]
    assert bench.committed(topic) == 3
    last = bench.read(topic, 3)[-1]
    assert (last.key(), last.value(), dict(last.headers())["penstock-tries"]) == (b"k", b"0", b"1")
