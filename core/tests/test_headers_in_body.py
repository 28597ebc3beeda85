"""A serializer whose format has a place for headers inside the body."""

from __future__ import annotations

import json
from typing import Any

from penstock import Engine, Output, QueueMessage, Record, Serializer
from penstock.message import Headers
from penstock.testing import Harness


class Noted(Serializer):
    """`{"note": …, "data": …}`: the header `note` is in the body."""

    headers_in_body = True

    def serialize(self, data: Any) -> bytes:
        return json.dumps({"data": data}).encode()

    def deserialize(self, body: bytes) -> Any:
        return json.loads(body)["data"]

    def read_headers(self, message: QueueMessage) -> Headers:
        assert message.message is not None
        found = json.loads(message.message).get("note")
        return [] if found is None else [("note", found.encode())]

    def write_headers(self, record: Record) -> Record:
        headers = dict(record.headers)
        if (note := headers.pop("note", None)) is None:
            return record
        body = json.dumps({**json.loads(record.message or b""), "note": note.decode()}).encode()
        return Record(body, record.key, list(headers.items()), record.delay, record.options)


QUEUES = {"in": {"connector": "memory", "serializer": Noted}, "out": {"connector": "memory", "serializer": Noted}}


def test_headers_inside_a_body_are_the_messages_and_go_to_its_outputs() -> None:
    """The function sees them, they are passed on like any others, and are in the body again; the others stay out."""
    app = Engine("in", ["out"], queue_config=QUEUES, propagate=["note"])
    seen: list[Headers] = []

    @app.stream_app
    def function(data: dict[str, int], msg_ctx: QueueMessage) -> Output:
        seen.append(msg_ctx.headers)
        return Output("out", data, headers={"other": "kept"})

    with Harness(app) as harness:
        harness.send("in", b'{"data": {"a": 1}, "note": "n"}')
        harness.run()
        (record,) = harness.records("out")

    assert seen == [[("note", b"n")]]
    assert json.loads(record.message or b"") == {"data": {"a": 1}, "note": "n"}
    assert record.headers == [("other", b"kept")]


def test_a_message_that_is_tried_again_has_them_once() -> None:
    """They are read from the connector's message each time, which is never changed."""
    app = Engine("in", ["out"], queue_config=QUEUES)
    seen: list[Headers] = []

    @app.stream_app
    def function(data: dict[str, int], msg_ctx: QueueMessage) -> None:
        seen.append(msg_ctx.headers)
        if len(seen) == 1:
            raise ValueError

    with Harness(app) as harness:
        harness.send("in", b'{"data": {"a": 1}, "note": "n"}')
        harness.run()

    assert seen == [[("note", b"n")]] * 2


def test_a_batch_has_them_too() -> None:
    """Its messages are decoded together."""
    app = Engine("in", ["out"], queue_config={**QUEUES, "in": {**QUEUES["in"], "batch": True}}, propagate=["note"])
    app.stream_app(lambda data: [("out", each) for each in data])
    with Harness(app) as harness:
        for number in range(3):
            harness.send("in", b'{"data": %d, "note": "n"}' % number)
        harness.run()

        assert [json.loads(each.message or b"")["note"] for each in harness.records("out")] == ["n"] * 3
