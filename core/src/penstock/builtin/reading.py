"""Reads JSON by pydantic so that a number is the one that was sent, or is rejected."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from json import loads
from math import isinf
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from penstock.builtin.core_schema import Node, has, is_open, is_rewritten, rewritten, validator_of_rewritten
from penstock.errors import InvalidMessage

Decode = Callable[[bytes], Any]

# A number with a fraction or an exponent that does not stand in quotes (or in a text that looks like that).
_FRACTION = re.compile(rb"(?:^|[:\[,\s])-?[0-9]+[.eE]")
_HUGE = re.compile(rb"(?:^|[:\[,\s])-?[0-9][0-9.]*(?:[eE]\+?[0-9]{3}|(?<=[0-9.]{300}))")
# Turns a number's digits into zeros: searching them is ten times faster than a regular expression.
_SHAPE = bytes.maketrans(b"123456789E", b"000000000e")


def exact_decoder(decode: Decode, schema: Any) -> Decode:
    """A decoder of JSON that never changes a number.

    - A `Decimal` has every digit of a JSON number. Pydantic by itself makes a float of it first.
    - A number that is too large for a float is rejected; pydantic reads it as infinity.

    A model that has no floats and no decimals keeps its decoder.

    Args:
        decode: Pydantic's own.
        schema: The core schema that it was built from.
    """
    if is_open(schema):
        decode = _rejecting_huge(decode)
    elif has(schema, "float"):
        decode = _finite_first(decode, schema)
    return _exact_decimals(decode, schema) if has(schema, "decimal") else decode


def _finite_first(decode: Decode, schema: Any) -> Decode:
    """Infinity is rare: only a body that a validator without infinity rejects is examined."""
    built = validator_of_rewritten(rewritten(schema, _only_finite))
    if not is_rewritten(built):
        return _rejecting_huge(decode)
    finite = built.validate_json

    def decode_finite(body: bytes) -> Any:
        try:
            return finite(body)
        except ValidationError as error:
            if not any(each["type"] == "finite_number" for each in error.errors(include_input=False)):
                raise
        _reject_huge(body)
        return decode(body)  # NaN and infinity as Python writes them

    return decode_finite


def _only_finite(node: Node) -> Node:
    return {"allow_inf_nan": False} | node if node.get("type") == "float" else node


def _rejecting_huge(decode: Decode) -> Decode:
    def decode_checked(body: bytes) -> Any:
        shape = body.translate(_SHAPE, b"+")
        if shape.find(b"0e000") >= 0 or shape.find(_LONG) >= 0:
            _reject_huge(body)
        return decode(body)

    return decode_checked


_LONG = b"0" * 300


def _reject_huge(body: bytes) -> None:
    """Raise `InvalidMessage` if a number of the body is too large for a float."""
    if _HUGE.search(body):
        _fractions(body)


def _fractions(body: bytes) -> list[str]:
    """The numbers of a body that have a fraction or an exponent, as they are written.

    Raises:
        InvalidMessage: one of them is too large for a float.
    """
    found: list[str] = []

    def collect(text: str) -> float:
        found.append(text)
        number = float(text)
        if isinf(number):
            raise InvalidMessage("a number is too large for a float; send it as text")
        return number

    try:
        loads(body.decode("utf-8"), parse_float=collect)
    except (ValueError, RecursionError):
        return []  # not JSON: the validator reports it
    return found


def _exact_decimals(decode: Decode, schema: Any) -> Decode:
    texts = _Texts()
    built = validator_of_rewritten(rewritten(schema, texts.before_decimals))
    if not is_rewritten(built):
        return _rejecting_long(decode)
    exact = built.validate_json

    def decode_exactly(body: bytes) -> Any:
        if _FRACTION.search(body) is None:
            return decode(body)
        texts.read(body)
        return exact(body)

    return decode_exactly


def _rejecting_long(decode: Decode) -> Decode:
    """Refuse numbers that a release of pydantic which reads each decimal as a float would change."""

    def decode_short(body: bytes) -> Any:
        if _FRACTION.search(body) and any(Decimal(text) != Decimal(repr(float(text))) for text in _fractions(body)):
            raise InvalidMessage(
                "a number has more digits than this release of pydantic reads of a Decimal; send it as text, or update "
                "pydantic"
            )
        return decode(body)

    return decode_short


class _Texts(threading.local):
    """The numbers of the body that this thread reads, by the float that pydantic makes of each."""

    def __init__(self) -> None:
        self.decimals: dict[float, Decimal | None] = {}

    def read(self, body: bytes) -> None:
        self.decimals = {}
        for text in _fractions(body):
            number, value = float(text), Decimal(text)
            self.decimals[number] = value if self.decimals.get(number, value) == value else None

    def before_decimals(self, node: Node) -> Node:
        """Put `restore` before a field that is a `Decimal`."""
        if node.get("type") != "decimal":
            return node
        wrapped: Node = {"type": "function-before", "function": {"type": "no-info", "function": self.restore}}
        if "ref" in node:
            wrapped["ref"] = node["ref"]
        return wrapped | {"schema": {key: part for key, part in node.items() if key != "ref"}}

    def restore(self, value: Any) -> Any:
        """The `Decimal` of the text that pydantic has made `value` of."""
        if type(value) is float:
            exact = self.decimals.get(value, value)
            if exact is None:
                raise PydanticCustomError(
                    "decimal_ambiguous",
                    "Two numbers of this message differ only beyond a float's digits; send decimals as text",
                )
            return exact
        if type(value) in (str, int):
            # A strict Decimal takes both from JSON, but not from a function.
            try:
                return Decimal(value)
            except InvalidOperation:
                return value
        return value
