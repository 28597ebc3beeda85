"""Serializer + model handler as one decode and one encode, and why a body was refused."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

from penstock.builtin.json_serializer import JsonSerializer
from penstock.builtin.pydantic_handler import PydanticModelHandler
from penstock.errors import DecodeError, FunctionError, InvalidMessage
from penstock.model_handlers import ModelHandler
from penstock.queues.codec import Codec
from penstock.serializers import Serializer

SECRET = "4111-1111-1111-1111"
DEEP = 100_000
NOTHING = ("the body is empty", "the message is a tombstone: it has no body")  # there is no more to be said


class Order(BaseModel):
    """What most tests read and write."""

    id: int
    note: str = ""


class Words(Serializer):
    """A format of its own: words with blanks between them."""

    format = "words"

    def serialize(self, data: Any) -> bytes:
        return " ".join(data).encode("ascii")

    def deserialize(self, body: bytes) -> Any:
        return body.decode("ascii").split(" ")


class Tagged(ModelHandler):
    """Shows what it was given."""

    def construct(self, data: Any, data_model: Any) -> Any:
        return (data_model, data)

    def deconstruct(self, model: Any, data_model: Any) -> Any:
        tag, data = model
        assert tag == data_model
        return data


def json_codec(model: Any = Order) -> Codec:
    """The usual pair."""
    return Codec(JsonSerializer(), PydanticModelHandler(), model)


def refusal(codec: Codec, body: bytes | None) -> tuple[str, str, str]:
    """Stage, class and text of the error for a body that does not decode."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  (whatever the parts raise)
        codec.decode(body)
    assert isinstance(caught.value, Exception)
    stage, error = codec.explain(body, caught.value)
    assert isinstance(error.__cause__, Exception) is (str(error) not in NOTHING)
    return stage, type(error).__name__, str(error)


# -- which parts work together


@pytest.mark.parametrize(
    ("serializer", "handler", "body", "obj"),
    [
        (None, None, b"\xff\x00", b"\xff\x00"),
        (Words(), None, b"a b", ["a", "b"]),
        (None, Tagged(), b"a b", ("M", b"a b")),
        (Words(), Tagged(), b"a b", ("M", ["a", "b"])),
    ],
    ids=["nothing", "serializer only", "handler only", "both"],
)
def test_each_part_may_be_off(serializer: Any, handler: Any, body: bytes, obj: Any) -> None:
    """Bytes, plain data, a model of the bytes, or a model of the plain data: there and back."""
    codec = Codec(serializer, handler, "M")

    assert codec.decode(body) == obj
    assert codec.encode(obj) == body


class CountingJson(JsonSerializer):
    """Tells when it is used."""

    used: ClassVar[list[str]] = []

    def serialize(self, data: Any) -> bytes:
        self.used.append("serialize")
        return super().serialize(data)

    def deserialize(self, body: bytes) -> Any:  # type: ignore[override]
        self.used.append("deserialize")
        return json.loads(body)


def test_json_and_pydantic_are_one_pass() -> None:
    """The handler reads and writes the bytes itself; the serializer is not called for a good message."""
    CountingJson.used.clear()
    codec = Codec(CountingJson(), PydanticModelHandler(), Order)

    assert codec.decode(b'{"id": 1}') == Order(id=1)
    assert codec.encode(Order(id=1)) == b'{"id":1,"note":""}'
    assert CountingJson.used == []


def test_a_handler_that_cannot_read_the_format_gets_plain_data() -> None:
    """Two passes, where the pair does not allow one."""
    codec = Codec(Words(), PydanticModelHandler(), tuple[int, str])

    assert codec.decode(b"7 a") == (7, "a")
    assert Codec(Words(), PydanticModelHandler(), list[str]).encode(["x", "y"]) == b"x y"


def test_one_instance_serves_a_queue_for_life() -> None:
    """Nothing is looked up again: `decode` and `encode` are bound once."""
    codec = json_codec()

    assert codec.decode is codec.decode
    assert not hasattr(codec, "__dict__")


def test_without_a_serializer_a_handler_of_one_format_writes_it() -> None:
    """The parser profiles of the reference: bytes to model and back in one pass; bytes go as they are."""
    codec = Codec(None, PydanticModelHandler(), Any)

    assert codec.encode({"id": 1}) == b'{"id":1}'
    assert codec.encode(b"\x00raw") == b"\x00raw"
    assert codec.decode(b'{"id":1}') == {"id": 1}


def test_without_a_serializer_an_output_must_be_bytes() -> None:
    """The error names the type and what to do; the object is message data."""
    codec = Codec(None, None, None)

    with pytest.raises(FunctionError) as caught:
        codec.encode({"card": SECRET})

    assert str(caught.value) == (
        "this queue has no serializer, so an output for it must be bytes, not dict; encode it, or give the queue a "
        "serializer"
    )
    assert codec.encode(b"raw") == b"raw"


def test_without_a_serializer_none_is_a_tombstone() -> None:
    """The way to delete a key from a compacted topic."""
    assert Codec(None, None, None).encode(None) is None
    assert Codec(None, None, None).decode(None) is None


# -- why a body was refused


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "the body is empty"),
        (None, "the message is a tombstone: it has no body"),
        (b"{", "the body is not valid json: "),
        (b'{"id": 1} {}', "the body is not valid json: "),
        (b"not json", "the body is not valid json: "),
        (b"\xff\xfe", "the body is not valid json: "),
        ('{"note": "\ud800"}'.encode("utf-8", "surrogatepass"), "the body is not valid json: "),
        (b'{"id": 1e}', "the body is not valid json: "),
        (b"[" * DEEP, "the body is not valid json: "),
        (b"[" * DEEP + b"]" * DEEP, "the body is not valid json: "),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "the body is not valid json: "),
        (b"[" * 500 + b"]" * 500, "the body is not readable json: body: Invalid JSON: recursion limit exceeded"),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value)[:20],
)
def test_bytes_that_do_not_parse_fail_at_decode(body: bytes | None, text: str) -> None:
    """Empty, missing, cut, doubled, of no UTF-8, nested without end: each is told apart and none crashes."""
    stage, kind, said = refusal(json_codec(), body)

    assert (stage, kind) == ("decode", "DecodeError")
    assert said.startswith(text)
    assert len(said) < 200


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"\xff", b"[" * DEEP])
def test_bytes_that_a_handler_cannot_parse_fail_at_decode_as_well(body: bytes) -> None:
    """Without a serializer: the stage says whether the bytes or the model are at fault, whichever part found it."""
    codec = Codec(None, PydanticModelHandler(), Order)

    stage, kind, said = refusal(codec, body)

    assert (stage, kind) == ("decode", "DecodeError")
    assert said.startswith("the body is not readable json: body: Invalid JSON: ")
    assert refusal(codec, b"[]")[0] == "validate"


def test_the_place_of_a_syntax_error_is_told() -> None:
    """In characters, since that is how an editor finds it."""
    assert refusal(json_codec(), b'{\n"id": x}')[2].endswith(": line 2 column 7")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{}", "the message does not fit Order: id: Field required"),
        (b"[]", "the message does not fit Order: body: Input should be an object"),
        (b"null", "the message does not fit Order: body: Input should be an object"),
        (
            b'{"id": "x", "note": 5}',
            "the message does not fit Order: id: Input should be a valid integer, unable to parse string as an "
            "integer; note: Input should be a valid string",
        ),
    ],
)
def test_a_body_that_parses_fails_at_validate(body: bytes, text: str) -> None:
    """With the model's name, the field and the rule."""
    assert refusal(json_codec(), body) == ("validate", "InvalidMessage", text)


def test_a_long_list_of_faults_is_cut() -> None:
    """Five tell what is wrong; the dead letter has the message itself."""
    body = json.dumps(["x"] * 40).encode()

    said = refusal(json_codec(list[int]), body)[2]

    assert said.startswith("the message does not fit list[int]: 0: Input should be a valid integer")
    assert said.count("Input should be") == 5
    assert said.endswith("; and 35 more")


@pytest.mark.parametrize("body", [b"\xff", b"caf\xc3\xa9"])
def test_any_serializer_fails_at_decode(body: bytes) -> None:
    """The format's own name, and what Python itself says of the bytes."""
    stage, kind, said = refusal(Codec(Words(), Tagged(), None), body)

    assert (stage, kind) == ("decode", "DecodeError")
    assert said.startswith("the body is not valid words: ordinal not in range(128) at byte ")


# -- what an error never shows


class Quoting(Serializer):
    """A third party's, whose errors quote what it read."""

    def serialize(self, data: Any) -> bytes:
        raise NotImplementedError

    def deserialize(self, body: bytes) -> Any:
        return int(body)


class QuotingHandler(Tagged):
    """The same in a model handler."""

    def construct(self, data: Any, data_model: Any) -> Any:
        raise KeyError(data, data_model)


class Careful(Serializer):
    """A third party's, who knows the rules."""

    format = "careful"

    def serialize(self, data: Any) -> bytes:
        raise NotImplementedError

    def deserialize(self, body: bytes) -> Any:
        raise DecodeError(f"{len(body)} bytes are too few for a header")


class CarefulHandler(Tagged):
    """The same in a model handler."""

    def construct(self, data: Any, data_model: Any) -> Any:  # noqa: ARG002
        raise InvalidMessage("schema 7 has no field 'id'")


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Wallet(BaseModel):
    """One field of each kind whose errors are known to quote."""

    pet: Pet | None = None
    card: int = 0
    short: str = Field(default="", max_length=3)
    pattern: str = Field(default="", pattern=r"^\d*$")
    choice: Literal["a", "b"] = "a"


@pytest.mark.parametrize("field", ["card", "short", "pattern", "choice", "pet"])
def test_a_validation_error_never_quotes_the_message(field: str) -> None:
    """Pydantic's own text would: the value that does not fit is the message's data."""
    value = {"kind": SECRET} if field == "pet" else SECRET

    stage, _kind, said = refusal(json_codec(Wallet), json.dumps({field: value}).encode())

    assert (stage, SECRET in said, field in said) == ("validate", False, True)


@pytest.mark.parametrize(
    ("codec", "stage", "text"),
    [
        (Codec(Quoting(), None, None), "decode", "the body is not valid Quoting: ValueError"),
        (Codec(None, QuotingHandler(), Order), "validate", "the message does not fit Order: KeyError"),
        (
            Codec(JsonSerializer(), QuotingHandler(), Order),
            "validate",
            "the message does not fit Order: KeyError",
        ),
    ],
)
def test_a_strangers_error_is_told_by_its_type_only(codec: Codec, stage: str, text: str) -> None:
    """Its text may quote the message; the dead letter and the log are not place for that."""
    body = json.dumps(SECRET).encode()

    assert (refusal(codec, body)[0], refusal(codec, body)[2]) == (stage, text)


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        (Codec(Careful(), None, None), "the body is not valid careful: 1 bytes are too few for a header"),
        (Codec(None, CarefulHandler(), Order), "the message does not fit Order: schema 7 has no field 'id'"),
    ],
)
def test_an_error_that_was_raised_for_us_is_told_in_full(codec: Codec, text: str) -> None:
    """A `MessageError` promises to hold no data, so its text is kept."""
    assert refusal(codec, b"1")[2] == text


@pytest.mark.parametrize(
    "body",
    [
        f'{{"card": "{SECRET}"',
        f'{{"card": {SECRET}}}',
        f"{SECRET}",
        f'{{"{SECRET}": }}',
        f'"{SECRET}\ud800"',
    ],
)
def test_a_syntax_error_never_quotes_the_body(body: str) -> None:
    """Its place is enough."""
    stage, _kind, said = refusal(json_codec(Wallet), body.encode("utf-8", "surrogatepass"))

    assert (stage, "4111" in said) == ("decode", False)
