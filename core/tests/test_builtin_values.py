"""What goes through a queue is the same value, or is refused with the reason; never another value in silence."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    computed_field,
    field_serializer,
)
from typing_extensions import TypedDict

from penstock.builtin.json_serializer import JsonSerializer
from penstock.builtin.pydantic_handler import PydanticModelHandler
from penstock.data_models import GenericMessage
from penstock.errors import ConfigError, MessageError
from penstock.queues.codec import Codec

HANDLER = PydanticModelHandler()
JSON = JsonSerializer()
NAN, INF = math.nan, math.inf


class Reading(BaseModel):
    value: float
    note: str | None = None


class Readings(BaseModel):
    readings: list[Reading] = []
    by_name: dict[str, float] = {}
    any: Any = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Level(Enum):
    UNKNOWN = NAN


class Levelled(BaseModel):
    level: Level


class Computed(BaseModel):
    x: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        return INF * self.x


class Typed(TypedDict):
    x: float | None


@dataclasses.dataclass
class Plain:
    x: float


class NumpyLike(float):
    """As numpy's float64, which is a float too."""


def encode(model: Any, value: Any) -> bytes:
    body: bytes = HANDLER.encoder(model, "json")(value)
    return body


@pytest.mark.parametrize("number", [NAN, INF, -INF, NumpyLike(NAN)])
@pytest.mark.parametrize(
    ("model", "make"),
    [
        (Reading, lambda x: Reading(value=x)),
        (Reading, lambda x: Reading.model_construct(value=x)),
        (Readings, lambda x: Readings(readings=[Reading(value=1), Reading(value=x)])),
        (Readings, lambda x: Readings(by_name={"a": x})),
        (Readings, lambda x: Readings(any={"a": [x]})),
        (Readings, lambda x: Readings(any=Reading(value=x))),
        (Readings, lambda x: Readings(any=[Plain(x)])),
        (Open, lambda x: Open.model_validate({"a": x})),
        (GenericMessage, lambda x: GenericMessage.model_validate({"a": {"b": x}, "c": None})),
        (RootModel[list[float]], lambda x: RootModel[list[float]]([1.0, x])),
        (Computed, lambda _: Computed(x=1)),
        (Levelled, lambda _: Levelled(level=Level.UNKNOWN)),
        (Typed, lambda x: {"x": x}),
        (Plain, Plain),
        (float, lambda x: x),
        (list[float], lambda x: [1.0, x]),
        (set[float | None], lambda x: {x, None}),
        (dict[str, Reading], lambda x: {"a": Reading(value=x)}),
        (float | None, lambda x: x),
        (Any, lambda x: {"a": Reading(value=x)}),
        (Any, lambda x: [None, {"a": (x,)}]),
        (None, lambda x: Reading(value=x)),
    ],
)
def test_a_float_that_is_not_a_number_is_refused(model: Any, make: Any, number: float) -> None:
    """JSON has no NaN and no infinity, and pydantic writes null."""
    with pytest.raises(ValueError, match=r"cannot be written as JSON: .* a float that is NaN or infinite"):
        encode(model, make(number))


def test_the_refusal_names_the_place() -> None:
    """A big model has many floats."""
    with pytest.raises(ValueError, match=r"readings\.value holds a float"):
        encode(Readings, Readings(readings=[Reading(value=NAN)]))


@pytest.mark.parametrize(
    ("model", "value", "body"),
    [
        (Reading, Reading(value=1), b'{"value":1.0,"note":null}'),
        (Reading, Reading(value=1, note="null"), b'{"value":1.0,"note":"null"}'),
        (Readings, Readings(any=[None, {"a": None}]), b'{"readings":[],"by_name":{},"any":[null,{"a":null}]}'),
        (set[float | None], {None}, b"[null]"),
        (Any, [None, 1.5, "NaN"], b'[null,1.5,"NaN"]'),
        (Any, Reading(value=-0.0), b'{"value":-0.0,"note":null}'),
    ],
)
def test_a_null_that_is_none_is_written(model: Any, value: Any, body: bytes) -> None:
    """The check is about floats only."""
    assert encode(model, value) == body


@pytest.mark.parametrize("mode", ["null", "strings", "constants"])
def test_a_model_that_says_how_nan_is_written_gets_it_so(mode: Any) -> None:
    """`ser_json_inf_nan` in the model is the user's own word."""

    class Said(BaseModel):
        model_config = ConfigDict(ser_json_inf_nan=mode)

        x: float
        y: None = None

    assert (
        encode(Said, Said(x=NAN))
        == {
            "null": b'{"x":null,"y":null}',
            "strings": b'{"x":"NaN","y":null}',
            "constants": b'{"x":NaN,"y":null}',
        }[mode]
    )


def test_a_serializer_of_the_users_own_may_write_null_for_nan() -> None:
    """What a function returns is what is meant."""

    class Own(BaseModel):
        x: float

        @field_serializer("x")
        def write(self, x: float) -> float | None:
            return x if math.isfinite(x) else None

    assert encode(Own, Own(x=NAN)) == b'{"x":null}'


def test_json_without_a_model_refuses_an_enum_that_is_nan() -> None:
    """An enum member is written as its value."""
    with pytest.raises(ValueError, match="NaN or infinite"):
        JSON.serialize([Level.UNKNOWN])


class Price(BaseModel):
    price: Decimal
    more: list[Decimal] = []
    weight: float = 0.0
    any: Any = None


class Prices(BaseModel):
    prices: dict[str, Price]


class StrictPrice(BaseModel):
    model_config = ConfigDict(strict=True)

    price: Decimal
    when: date | None = None


LONG = ["1.10000000000000000000000000000000001", "12345678901234567890.12", "0.1000", "-19.90", "1.5E-30", "7", "1e2"]


@pytest.mark.parametrize("text", LONG)
def test_a_decimal_has_the_digits_that_were_sent(text: str) -> None:
    """As a JSON number, as a text, nested, in lists, in strict models."""
    read = HANDLER.decoder(Prices, "json")
    body = f'{{"prices": {{"a": {{"price": {text}, "more": ["{text}", {text}]}}}}}}'.encode()

    price = read(body).prices["a"]

    assert [str(each) for each in (price.price, *price.more)] == [str(Decimal(text))] * 3
    strict = HANDLER.decoder(StrictPrice, "json")
    assert str(strict(f'{{"price":{text},"when":"2024-05-17"}}'.encode()).price) == str(Decimal(text))
    assert str(strict(f'{{"price":"{text}"}}'.encode()).price) == str(Decimal(text))
    assert str(HANDLER.decoder(Decimal, "json")(text.encode())) == str(Decimal(text))


def test_a_float_beside_a_decimal_stays_a_float() -> None:
    """Only the decimals are made of the text."""
    price = HANDLER.decoder(Price, "json")(b'{"price": 0.10, "weight": 0.5, "any": [0.5, "0.10", 1.0]}')

    assert (str(price.price), price.weight, price.any) == ("0.10", 0.5, [0.5, "0.10", 1.0])


def test_two_decimals_that_are_one_float_are_told_apart_or_refused() -> None:
    """One of them would get the digits of the other."""
    with pytest.raises(ValueError, match="send decimals as text"):
        HANDLER.decoder(Price, "json")(b'{"price": 0.1, "more": [0.10000000000000000001]}')


def test_the_texts_of_one_message_do_not_reach_the_next() -> None:
    """Also after one that was refused."""
    read = HANDLER.decoder(Price, "json")
    with pytest.raises(ValueError, match="price"):
        read(b'{"price": {"x": 0.10}}')

    assert str(read(b'{"price": "0.1", "more": [0.100]}').more[0]) == "0.100"


@given(st.decimals(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_every_decimal_comes_in_as_it_is(number: Decimal, weight: float) -> None:
    """As the number that PostgreSQL, Java and others write."""
    text = f"{number:f}" if abs(number.adjusted()) < 300 else str(number.scaleb(-number.adjusted()))
    expected = Decimal(text)
    body = f'{{"price":{text},"weight":{json.dumps(weight)}}}'.encode()

    read = HANDLER.decoder(Price, "json")(body)

    assert (read.price, read.weight) == (expected, weight)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1.5E+999", "1" + "0" * 400 + ".0"])
@pytest.mark.parametrize(
    ("model", "body"),
    [
        (Reading, '{{"value": {}}}'),
        (Readings, '{{"by_name": {{"a":{}}}}}'),
        (Readings, '{{"any": [1,{}]}}'),
        (GenericMessage, '{{"a": {}}}'),
        (Any, "[{}]"),
        (float, "{}"),
        (Price, '{{"price": 1, "weight": {}}}'),
    ],
)
def test_a_number_too_large_for_a_float_is_refused(model: Any, body: str, number: str) -> None:
    """Pydantic reads infinity."""
    codec = Codec(JSON, HANDLER, model)
    text = body.format(number).encode()

    with pytest.raises(MessageError, match="too large for a float"):
        codec.decode(text)
    assert codec.explain(text, ValueError())[0] == "decode"


def test_nan_as_python_writes_it_is_read() -> None:
    """Not JSON, but what `json.dumps` sends; the value is the same."""
    assert math.isnan(HANDLER.decoder(Reading, "json")(b'{"value": NaN}').value)
    assert HANDLER.decoder(Reading, "json")(b'{"value": -Infinity, "note": "1e400"}').value == -INF


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, -(10**100)])
def test_an_integer_keeps_its_digits_without_a_model(number: int) -> None:
    """Beyond 64 bits the JSON library makes a float of it."""
    assert JSON.deserialize(f'{{"a": [{number}, 1.5, "x"]}}'.encode()) == {"a": [number, 1.5, "x"]}
    assert type(JSON.deserialize(str(number).encode())) is int


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_plain_data_come_back_the_same_or_are_refused(data: Any) -> None:
    """By either way of writing JSON; `repr` tells 1 from 1.0 and True, and -0.0 from 0.0."""
    for write, read in (
        (JSON.serialize, JSON.deserialize),
        (HANDLER.encoder(Any, "json"), HANDLER.decoder(Any, "json")),
    ):
        try:
            body = write(data)
        except ValueError:
            continue
        assert repr(read(body)) == repr(data)
        assert repr(JSON.deserialize(body)) == repr(data)


class Everything(BaseModel):
    a: float | None
    b: Decimal
    c: int
    d: datetime
    e: timedelta
    f: set[int]
    g: dict[str, float | None]
    h: bool | None
    i: UUID
    j: bytes
    k: str


@given(st.builds(Everything, b=st.decimals(allow_nan=False, allow_infinity=False)))
def test_a_model_comes_back_the_same_or_is_refused(value: Everything) -> None:
    """Every kind of field."""
    try:
        body = encode(Everything, value)
    except ValueError:
        return

    assert HANDLER.decoder(Everything, "json")(body) == value


class Login(BaseModel):
    user: str = "u"
    password: SecretStr


class Logins(BaseModel):
    logins: list[Login] = []
    keys: dict[str, SecretBytes] = {}
    either: int | SecretStr = 0
    limit: Secret[float] | None = None
    any: Any = None


class Shown(BaseModel):
    password: SecretStr

    @computed_field  # type: ignore[prop-decorator]
    @property
    def again(self) -> SecretStr:
        return self.password

    @field_serializer("password")
    def reveal(self, password: SecretStr) -> str:
        return password.get_secret_value()


HIDDEN = [
    (Login, Login(password=SecretStr("hunter2")), "password"),
    (Logins, Logins(logins=[Login(password=SecretStr("hunter2"))]), "logins.password"),
    (Logins, Logins(keys={"k": SecretBytes(b"hunter2")}), "keys.k"),
    (Logins, Logins(either=SecretStr("hunter2")), "either"),
    (Logins, Logins(limit=Secret[float](1.5)), "limit"),
    (Logins, Logins(any=[SecretStr("hunter2")]), "any"),
    (Logins, Logins(any=Login(password=SecretStr("hunter2"))), "any.password"),
    (GenericMessage, GenericMessage.model_validate({"a": SecretStr("hunter2")}), "a"),
    (Any, {"a": {"b": SecretBytes(b"hunter2")}}, "a.b"),
    (Any, Login(password=SecretStr("hunter2")), "password"),
    (None, [Login(password=SecretStr("hunter2"))], "password"),
    (list[SecretStr], [SecretStr("hunter2")], "the value"),
    (Shown, Shown(password=SecretStr("hunter2")), "again"),
]


@pytest.mark.parametrize("format", ["json", ""])
@pytest.mark.parametrize(("model", "value", "place"), HIDDEN)
def test_a_secret_is_not_sent_as_asterisks(model: Any, value: Any, place: str, format: str) -> None:  # noqa: A002
    """As JSON and as plain data; the error names the field and not the secret."""
    with pytest.raises(ValueError, match="field_serializer") as raised:
        HANDLER.encoder(model, format)(value)

    assert str(raised.value).startswith(place if format == "json" else "")
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("format", ["json", ""])
def test_a_secret_that_a_serializer_reveals_is_sent(format: str) -> None:  # noqa: A002
    """And an empty one, and asterisks that are a text."""

    class Own(BaseModel):
        password: SecretStr
        note: str = "**********"
        none: SecretStr = SecretStr("")
        any: Any = "**********"

        @field_serializer("password")
        def reveal(self, password: SecretStr) -> str:
            return password.get_secret_value()

    written = HANDLER.encoder(Own, format)(Own(password=SecretStr("hunter2")))

    assert (json.loads(written) if format else written) == {
        "password": "hunter2",
        "note": "**********",
        "none": "",
        "any": "**********",
    }


v1 = pytest.importorskip("pydantic.v1", reason="pydantic.v1 does not run on this Python")


class Old(v1.BaseModel):  # type: ignore[misc,name-defined]
    x: int


with warnings.catch_warnings(action="ignore"):

    class Holder(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)

        old: Old | None = None


@pytest.mark.parametrize("use", [HANDLER.decoder, HANDLER.encoder])
@pytest.mark.parametrize(
    "model", [Old, list[Old], dict[str, Old], Old | None, Annotated[Old, Field(description="d")], Holder]
)
def test_a_model_of_pydantic_v1_is_refused_at_the_start(use: Any, model: Any) -> None:
    """Pydantic builds it, and then fails for each message."""
    with pytest.raises(ConfigError, match=r"Old is of pydantic\.v1.*derive it from pydantic\.BaseModel"):
        use(model, "json")
