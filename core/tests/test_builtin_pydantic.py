"""The model handler `pydantic`: any type, both ways, one pass, and no message in an error."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict  # as pydantic wants it before Python 3.12

from penstock.builtin.pydantic_handler import PydanticModelHandler
from penstock.data_models import GenericMessage
from penstock.errors import ConfigError

HANDLER = PydanticModelHandler()
T = TypeVar("T")


class Order(BaseModel):
    id: int
    note: str = ""


class Rush(Order):
    by: str


class Aliased(BaseModel):
    order_id: int = Field(alias="orderId")
    lines: list[Order] = Field(default=[], alias="orderLines")


class Box(BaseModel, Generic[T]):
    content: T


class Blob(BaseModel):
    data: bytes
    more: dict[str, Any] = {}


class Everything(BaseModel):
    when: datetime
    key: UUID
    price: Decimal
    tags: set[str]


class Kind(Enum):
    A = "a"


class Deferred(BaseModel):
    model_config = ConfigDict(defer_build=True)

    later: Later


class Later(BaseModel):
    x: int


@dataclasses.dataclass
class Plain:
    x: int
    order: Order | None = None


@dataclass
class Checked:
    x: Annotated[int, Field(gt=0)]


class Typed(TypedDict):
    x: int
    order: Order


NOW = datetime(2024, 5, 17, 12, 30, tzinfo=UTC)

VALUES = [
    pytest.param(Order, Order(id=1), b'{"id":1,"note":""}', id="model"),
    pytest.param(
        GenericMessage, GenericMessage.model_validate({"a": 1, "b": [None]}), b'{"a":1,"b":[null]}', id="any object"
    ),
    pytest.param(Aliased, Aliased(orderId=1), b'{"orderId":1,"orderLines":[]}', id="aliases"),
    pytest.param(Box[int], Box[int](content=1), b'{"content":1}', id="generic model"),
    pytest.param(RootModel[list[int]], RootModel[list[int]]([1]), b"[1]", id="root model"),
    pytest.param(Plain, Plain(1, Order(id=2)), b'{"x":1,"order":{"id":2,"note":""}}', id="dataclass"),
    pytest.param(Checked, Checked(x=1), b'{"x":1}', id="pydantic's dataclass"),
    pytest.param(Typed, {"x": 1, "order": Order(id=2)}, b'{"x":1,"order":{"id":2,"note":""}}', id="typed dict"),
    pytest.param(list[Order], [Order(id=1), Order(id=2)], b'[{"id":1,"note":""},{"id":2,"note":""}]', id="list"),
    pytest.param(Order | None, None, b"null", id="optional"),
    pytest.param(Annotated[int, Field(gt=0, json_schema_extra={"a": []})], 3, b"3", id="annotated"),
    pytest.param(dict, {"a": [1, None]}, b'{"a":[1,null]}', id="dict"),
    pytest.param(Any, {"a": [1, None]}, b'{"a":[1,null]}', id="Any"),
    pytest.param(None, {"a": [1, None]}, b'{"a":[1,null]}', id="no model"),
    pytest.param(Deferred, Deferred(later=Later(x=1)), b'{"later":{"x":1}}', id="deferred"),
    pytest.param(
        Everything,
        Everything(when=NOW, key=UUID(int=1), price=Decimal("1.10"), tags={"a"}),
        b'{"when":"2024-05-17T12:30:00Z","key":"00000000-0000-0000-0000-000000000001","price":"1.10","tags":["a"]}',
        id="rich types",
    ),
]


@pytest.mark.parametrize(("model", "value", "body"), VALUES)
def test_a_value_becomes_json_and_comes_back(model: Any, value: Any, body: bytes) -> None:
    """Encoder and decoder for JSON, of any type that pydantic can build."""
    assert HANDLER.encoder(model, "json")(value) == body
    assert HANDLER.decoder(model, "json")(body) == value


@pytest.mark.parametrize(("model", "value", "body"), VALUES)
def test_a_value_becomes_plain_data_and_comes_back(model: Any, value: Any, body: bytes) -> None:
    """Encoder and decoder for a serializer, `construct` and `deconstruct`: the same by way of plain data."""
    plain = HANDLER.encoder(model, "")(value)

    assert json.loads(json.dumps(plain)) == plain == json.loads(body)
    assert HANDLER.decoder(model, "")(plain) == value
    assert HANDLER.deconstruct(value, model) == plain
    assert HANDLER.construct(plain, model) == value


@pytest.mark.parametrize(("model", "value", "body"), VALUES)
def test_bytes_of_a_queue_without_serializer_are_json(model: Any, value: Any, body: bytes) -> None:
    """`construct` validates raw bytes as JSON."""
    assert HANDLER.construct(body, model) == value


def test_a_data_model_of_bytes_takes_the_body_as_it_is() -> None:
    """`data_model: bytes` is the raw body, which need not be JSON."""
    assert HANDLER.construct(b"\xff\x00", bytes) == b"\xff\x00"


@pytest.mark.parametrize(
    ("model", "value", "body"),
    [
        (Order, {"id": 1}, b'{"id":1,"note":""}'),
        (Order, {"id": "7", "note": "x"}, b'{"id":7,"note":"x"}'),
        (Aliased, {"orderId": 1}, b'{"orderId":1,"orderLines":[]}'),
        (Plain, {"x": 1}, b'{"x":1,"order":null}'),
        (Typed, {"x": 1, "order": {"id": 2}}, b'{"x":1,"order":{"id":2,"note":""}}'),
        (list[Order], ({"id": 1}, Order(id=2)), b'[{"id":1,"note":""},{"id":2,"note":""}]'),
        (GenericMessage, {"anything": [1]}, b'{"anything":[1]}'),
    ],
)
def test_a_value_that_fits_the_model_is_accepted(model: Any, value: Any, body: bytes) -> None:
    """A function may return a dict where the queue has a model: it is validated first."""
    assert HANDLER.encoder(model, "json")(value) == body
    assert HANDLER.encoder(model, "")(value) == json.loads(body)


@pytest.mark.parametrize(
    ("model", "value", "text"),
    [
        (Order, {"note": "x"}, "expected Order, got dict: id: Field required"),
        (Order, None, "expected Order, got NoneType: Input should be a valid dictionary or instance of Order"),
        (Order, Later(x=1), "expected Order, got Later: Input should be a valid dictionary or instance of Order"),
        (Order, b"{}", "expected Order, got bytes: Input should be a valid dictionary or instance of Order"),
        (
            list[Order],
            [{"id": "hunter2"}, {"id": "hunter2"}, {"id": "hunter2"}, {"id": "hunter2"}],
            "expected list[test_builtin_pydantic.Order], got list: "
            "0.id: Input should be a valid integer, unable to parse string as an integer; "
            "1.id: Input should be a valid integer, unable to parse string as an integer; "
            "2.id: Input should be a valid integer, unable to parse string as an integer; and 1 more",
        ),
        (Typed, {"x": 1}, "expected Typed, got dict: order: Field required"),
        (Plain, 5, "expected Plain, got int: Input should be a dictionary or an instance of Plain"),
        (int, "many", "expected int, got str: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
@pytest.mark.parametrize("wire", ["json", ""])
def test_a_value_that_does_not_fit_is_refused(model: Any, value: Any, text: str, wire: str) -> None:
    """The error names the model, the value's type and the faults, and shows no value."""
    with pytest.raises(ValueError, match="expected") as raised:
        HANDLER.encoder(model, wire)(value)

    assert str(raised.value).replace(f"{__name__}.", "test_builtin_pydantic.") == text


def test_an_instance_of_a_subclass_is_written_as_the_model_says() -> None:
    """The queue's model decides what goes out, as everywhere in pydantic; a reader that forbids more can read it."""
    assert HANDLER.encoder(Order, "json")(Rush(id=1, by="noon")) == b'{"id":1,"note":""}'


@pytest.mark.parametrize("wire", ["json", ""])
@pytest.mark.parametrize(
    ("model", "value"),
    [
        (Order, Order.model_construct(id="hunter2")),
        (Plain, Plain("hunter2")),  # type: ignore[arg-type]
        (Aliased, Aliased.model_construct(order_id=1, lines=["hunter2"])),
    ],
)
def test_an_instance_spoilt_after_it_was_made_is_refused(wire: str, model: Any, value: Any) -> None:
    """Pydantic would warn, with the value in the text, and send it; a reader would refuse it."""
    encode = HANDLER.encoder(model, wire)

    with pytest.raises(ValueError, match=r"holds values .*does not allow; they were set unchecked") as raised:
        encode(value)

    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_spoilt_instance_is_refused_under_pythons_own_warning_settings() -> None:
    """Outside of pytest, where warnings are not errors: nothing is printed, and no value is shown."""
    program = (
        "from penstock.builtin.pydantic_handler import PydanticModelHandler\n"
        "from penstock.data_models import GenericMessage\n"
        "from pydantic import BaseModel\n"
        "class M(BaseModel):\n    a: int\n"
        "m = M(a=1); m.a = 'hunter2'\n"
        "try: PydanticModelHandler().encoder(M, 'json')(m)\n"
        "except ValueError as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.stderr == ""
    assert done.stdout.startswith("this M holds values ")


def test_other_warnings_stay_warnings() -> None:
    """The handler turns only pydantic's own complaint about a value into an error."""

    class Chatty(BaseModel):
        x: int

        @property
        def y(self) -> int:
            return self.x

    encode = HANDLER.encoder(Chatty, "json")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        HANDLER.encoder(Chatty, "json")
        warnings.warn("mine", UserWarning, stacklevel=1)

    assert encode(Chatty(x=1)) == b'{"x":1}'
    assert [str(each.message) for each in caught] == ["mine"]


@pytest.mark.parametrize("data", [b"\xff\x00", b"text"])
def test_bytes_stay_bytes_for_a_serializer_that_has_them(data: bytes) -> None:
    """What JSON has no word for is not bent for MessagePack: in a field, in an Any, in an extra key."""
    blob = Blob(data=data, more={"deep": [data, NOW]})

    assert HANDLER.deconstruct(blob, Blob) == {"data": data, "more": {"deep": [data, "2024-05-17T12:30:00Z"]}}
    assert HANDLER.deconstruct(GenericMessage.model_validate({"extra": data}), GenericMessage) == {"extra": data}
    assert HANDLER.deconstruct({"x": (data, {Kind.A})}, Any) == {"x": [data, ["a"]]}
    assert HANDLER.construct(HANDLER.deconstruct(blob, Blob), Blob).data == data


def test_rich_values_in_an_any_are_plain_afterwards() -> None:
    """Models, keys that are not text, enums and times inside an Any are written as pydantic writes them."""
    value = {"model": Aliased(orderId=1), Kind.A: NOW, 5: UUID(int=1)}

    assert HANDLER.deconstruct(value, Any) == {
        "model": {"orderId": 1, "orderLines": []},
        "a": "2024-05-17T12:30:00Z",
        5: "00000000-0000-0000-0000-000000000001",
    }


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, -float("inf")])
def test_any_refuses_what_json_cannot_say(value: Any) -> None:
    """NaN and infinity are not JSON; others could not read it."""
    with pytest.raises(ValueError, match="a float that is"):
        HANDLER.encoder(Any, "json")(value)


@pytest.mark.parametrize("value", ["NaN", {"Infinity": "-Infinity"}, ["to NaN and back"]])
def test_any_takes_the_words_for_what_json_cannot_say(value: Any) -> None:
    """They are ordinary text."""
    assert json.loads(HANDLER.encoder(Any, "json")(value)) == value


@pytest.mark.parametrize("value", [object(), {"x": object()}, "a lone surrogate \ud800", b"\xff"])
def test_any_refuses_what_it_cannot_write(value: Any) -> None:
    """An object without known parts is rejected, not turned into its repr."""
    with pytest.raises(ValueError):  # noqa: PT011  (pydantic-core's texts)
        HANDLER.encoder(Any, "json")(value)


@pytest.mark.parametrize("model", [Order, list[Order], Typed, Plain, dict[str, int], Any, GenericMessage])
@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"id":"hunter2","x":"hunter2"', b'["hunter2"]x', b"[" * 100_000, b"\xff"]
)
def test_a_body_that_is_no_json_is_a_validation_error_without_it(model: Any, body: bytes) -> None:
    """Hostile bytes are refused, and neither the text nor the repr of the error shows them."""
    with pytest.raises(ValidationError) as raised:
        HANDLER.decoder(model, "json")(body)

    assert "hunter2" not in str(raised.value) + repr(raised.value)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (Order, {"id": "hunter2"}),
        (list[Order], [{"id": "hunter2"}]),
        (Typed, {"x": "hunter2", "order": {"id": "hunter2"}}),
        (Plain, {"x": "hunter2"}),
        (Checked, {"x": "hunter2"}),
        (dict[str, int], {"x": "hunter2"}),
        (Deferred, {"later": {"x": "hunter2"}}),
        (Box[int], {"content": "hunter2"}),
    ],
)
def test_data_that_do_not_fit_are_refused_and_not_shown(model: Any, data: Any) -> None:
    """From bytes, from plain data and by `construct`: pydantic's errors would repeat the input."""
    reads = (
        (HANDLER.decoder(model, "json"), json.dumps(data).encode()),
        (HANDLER.decoder(model, ""), data),
        (lambda value: HANDLER.construct(value, model), data),
    )
    for read, value in reads:
        with pytest.raises(ValidationError) as raised:
            read(value)

        assert "hunter2" not in str(raised.value) + repr(raised.value)


def test_a_body_that_is_none_is_refused() -> None:
    """A tombstone is not a model."""
    with pytest.raises(ValidationError):
        HANDLER.decoder(Order, "json")(None)


def test_a_reader_runs_nothing_of_ours_for_a_message() -> None:
    """The decoder is pydantic-core's own bound method."""
    assert type(HANDLER.decoder(Order, "json")).__name__ == "builtin_function_or_method"
    assert type(HANDLER.decoder(list[Order], "")).__name__ == "builtin_function_or_method"


class Homeless(BaseModel):
    other: NotDefinedAnywhere  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("use", [HANDLER.decoder, HANDLER.encoder])
@pytest.mark.parametrize(
    ("model", "text"),
    [
        (object(), "pydantic cannot build it: "),
        (5, "data model 5: pydantic cannot build it: "),
        (Homeless, "data model Homeless: pydantic cannot build it: .*NotDefinedAnywhere"),
    ],
)
def test_a_type_that_pydantic_cannot_build_is_refused_at_wiring(use: Any, model: Any, text: str) -> None:
    """Before the first message, with the type and the reason."""
    with pytest.raises(ConfigError, match=text) as raised:
        use(model, "json")

    assert "\n" not in str(raised.value)


def test_a_model_serializer_of_the_users_own_is_honoured() -> None:
    """Custom serializers and validators run as in pydantic."""
    model = Annotated[int, Field(ge=1)]
    adapter: TypeAdapter[Any] = TypeAdapter(model)

    assert HANDLER.encoder(model, "json")(5) == adapter.dump_json(5)
    assert HANDLER.decoder(model, "json")(b"5") == adapter.validate_json(b"5")
