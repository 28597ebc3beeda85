"""`engine.batch: latest` on topics: the newest of each topic and key, and what is committed."""

from __future__ import annotations

from typing import Any

from core.tests.engine_fixture import drain

from penstock import Engine


def test_each_topic_has_its_own_keys_and_all_is_committed(bench: Any) -> None:
    """Also the superseded messages, with the newest."""
    first, second = bench.topic(), bench.topic()
    bench.fill(first, [b"1", b"2"], key=b"x")
    bench.fill(first, [b"3", b"4"], key=b"y")
    bench.fill(second, [b"5", b"6"], key=b"x")
    config = {"bootstrap.servers": bench.server.bootstrap, "group.id": bench.group}
    queue = {"connector": "kafka", "value": [first, second], "config": config, "batch": True}
    app = Engine("in", queue_config={"in": queue}, batch="latest", batch_wait=3.0, batch_size=100)
    seen: list[int] = []
    app.stream_app(lambda numbers: seen.extend(numbers))

    worker = drain(app)

    assert set(seen) >= {2, 4, 6}
    [line] = worker.summary()
    assert f"6 received, {len(seen)} succeeded" in line
    assert len(seen) == 6 or f"{6 - len(seen)} superseded" in line
    assert (bench.committed(first), bench.committed(second)) == (4, 2)
