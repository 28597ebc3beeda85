"""The keys that an output queue reads from its objects, and bodies that are plain text."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from penstock.builtin.text_serializer import TextSerializer
from penstock.engine import Engine
from penstock.errors import ConfigError, DecodeError, FunctionError
from penstock.queues.keys import key_reader
from penstock.routing import Output
from penstock.testing import Harness

from .engine_fixture import EngineFixture, drain


class Customer(BaseModel):
    """Inside of an order."""

    id: int


class Order(BaseModel):
    """What is sent."""

    user_id: str | None
    customer: Customer


ORDER = Order(user_id="ann", customer=Customer(id=7))


@pytest.mark.parametrize(
    ("key", "obj", "expected"),
    [
        ("user_id", ORDER, b"ann"),
        ("customer.id", ORDER, b"7"),
        ("customer.id", {"customer": {"id": 8}}, b"8"),
        ("customer.id", {"customer": Customer(id=9)}, b"9"),
        ("user_id", Order(user_id=None, customer=Customer(id=1)), None),
        (lambda obj: obj["a"], {"a": b"raw"}, b"raw"),
        (lambda obj: UUID(int=obj), 1, b"00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_key_is_read_from_the_object(key: Any, obj: Any, expected: bytes | None) -> None:
    """A field, one inside of another, or what a function says."""
    assert key_reader(key)(obj) == expected


@pytest.mark.parametrize(
    ("key", "obj", "said"),
    [
        ("user", ORDER, "an object of Order has no 'user', the queue's key"),
        ("customer.no", {"customer": {}}, "has no 'customer.no'"),
        ("customer", ORDER, "the field 'customer' is to be the message's key: text, bytes, a whole number"),
        ("id", {"id": True}, "it is bool"),
        ("id", {"id": 1.5}, "it is float"),
    ],
)
def test_an_object_without_its_key_is_an_error(key: str, obj: Any, said: str) -> None:
    """It names the field."""
    with pytest.raises(FunctionError) as caught:
        key_reader(key)(obj)
    assert said in str(caught.value)


@pytest.mark.parametrize("form", ["pair", "list", "output", "own key"])
def test_an_engine_gives_outputs_their_keys(stand: EngineFixture, form: str) -> None:
    """In place of the input's key; the function's own key wins."""

    def function(_number: Any) -> Any:
        match form:
            case "pair":
                return "out", {"user_id": "ann"}
            case "list":
                return [("out", {"user_id": "ann"})]
            case "output":
                return Output("out", {"user_id": "ann"})
            case _:
                return Output("out", {"user_id": "ann"}, key="own")

    app = Engine("in", ["out"], queue_config=[stand.memory("in"), stand.memory("out", key="user_id")])
    app.stream_app(function)
    stand.put(b"1")

    drain(app)

    assert [message.key for message in stand.take()] == [b"own" if form == "own key" else b"ann"]


def test_a_missing_key_is_a_failed_call() -> None:
    """As an output that does not validate."""
    queues = {
        "in": {"connector": "memory"},
        "out": {"connector": "memory", "key": "id"},
        "dead": {"connector": "memory"},
    }
    app = Engine("in", ["out"], dead_letter_queue="dead", queue_config=queues, retry={"max_attempts": 1})
    app.stream_app(lambda _number: ("out", {"name": "x"}))
    with Harness(app) as harness:
        harness.send("in", 1)
        harness.run()
        (letter,) = harness.dead_letters()
        assert letter.stage == "output"
        assert "has no 'id', the queue's key" in letter.error_text


def test_a_wrong_key_is_refused() -> None:
    """By the configuration."""
    app = Engine("in", ["out"], queue_config={"in": {"connector": "memory"}, "out": {"connector": "memory", "key": 7}})
    app.stream_app(lambda _number: None)
    with pytest.raises(ConfigError, match="'key' must be"):
        app.configuration  # noqa: B018  (it is read on first use)


# -- text


def test_text_is_the_body_itself(stand: EngineFixture) -> None:
    """`payload: str` of Romeways: no quotes, both ways."""
    queues = [
        stand.memory("in", serializer="text", model_handler=None),
        stand.memory("out", serializer="text", model_handler=None),
    ]
    app = Engine("in", ["out"], queue_config=queues)
    app.stream_app(lambda text: ("out", text.upper()))
    stand.put("grün".encode(), b'"quoted"')

    drain(app)

    assert stand.bodies() == ["GRÜN".encode(), b'"QUOTED"']


def test_what_is_not_text_is_refused() -> None:
    """In both directions."""
    with pytest.raises(DecodeError, match="at byte 1"):
        TextSerializer().deserialize(b"a\xff")
    with pytest.raises(FunctionError, match="must be str, not int"):
        TextSerializer().serialize(7)
