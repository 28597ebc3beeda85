"""`${NAME}` is filled in on parsed values."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.environment import substitute

ENVIRONMENT = {"HOST": "localhost", "PORT": "6379", "EMPTY": "", "ODD": "${HOST}: [x]\n- y"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${HOST}", "localhost"),
        ("redis://${HOST}:${PORT}/0", "redis://localhost:6379/0"),
        ("${PORT:-7}", "6379"),
        ("${NOT_SET:-7}", "7"),
        ("${NOT_SET:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-7}", "7"),
        ("${NOT_SET:-a:-b c}", "a:-b c"),
        ("$${HOST}", "${HOST}"),
        ("$$HOST and $HOST and {HOST} and $", "$$HOST and $HOST and {HOST} and $"),
        ("$${HOST}${HOST}", "${HOST}localhost"),
    ],
)
def test_a_text_becomes(text: str, expected: str) -> None:
    """Names, defaults, the empty default and the escape; what is not a reference stays as it is."""
    result = substitute(text, ENVIRONMENT)

    assert result.values == expected
    assert result.missing == result.broken == []


def test_a_value_is_not_read_again() -> None:
    """What a variable holds is data: it cannot name another variable, and it cannot change the file's structure."""
    assert substitute({"a": "${ODD}"}, ENVIRONMENT).values == {"a": "${HOST}: [x]\n- y"}


def test_keys_stay_as_they_are() -> None:
    """Only values are filled in."""
    assert substitute({"${HOST}": "${HOST}"}, ENVIRONMENT).values == {"${HOST}": "localhost"}


def test_a_whole_scalar_stays_text() -> None:
    """A number in a variable is text until a typed model turns it into a number."""
    assert substitute(["${PORT:-1}"], ENVIRONMENT).values == ["6379"]


def test_every_missing_name_is_reported_with_its_path() -> None:
    """One start shows all variables that are missing, not the first of them."""
    result = substitute({"host": "${A}", "more": [{"x": "${B}/${C}"}]}, {}, ("queues", "q", "config"), 2)

    assert [(fault.path, fault.text) for fault in result.missing] == [
        (
            ("queues", "q", "config", "host"),
            "'config.host' needs the environment variable A, which is not set; "
            "set it, or write a default: ${A:-default}",
        ),
        (
            ("queues", "q", "config", "more", 0, "x"),
            "'config.more[0].x' needs the environment variable B, which is not set; "
            "set it, or write a default: ${B:-default}",
        ),
        (
            ("queues", "q", "config", "more", 0, "x"),
            "'config.more[0].x' needs the environment variable C, which is not set; "
            "set it, or write a default: ${C:-default}",
        ),
    ]


@pytest.mark.parametrize(
    "text", ["${", "${}", "${1A}", "${A B}", "${HOST:7}", "${HOST:?no}", "pass${word", "${A:-${B}}"]
)
def test_a_reference_that_is_none_is_refused_and_not_shown(text: str) -> None:
    """A mistyped reference is an error, and the text around it, which may be a secret, is not repeated."""
    result = substitute({"password": text}, ENVIRONMENT)

    assert [fault.text for fault in result.broken] == [
        "'password' has a '${' that is not a variable; write ${NAME} or ${NAME:-default}, or '$${' for a plain '${'"
    ]


def test_the_variables_of_a_value_are_remembered() -> None:
    """`penstock check` tells which variables went into a value; those that gave way to a default did not."""
    result = substitute({"a": "${HOST}:${PORT}", "b": "${NO:-1}", "c": "x"}, ENVIRONMENT)

    assert result.used == {("a",): ("HOST", "PORT")}


def test_nothing_that_was_given_is_changed() -> None:
    """Mappings and lists are copied; any other object is handed on as it is."""
    marker = object()
    values: dict[str, Any] = {"a": ["${HOST}", {"b": "${HOST}"}], "c": marker}
    before = copy.copy(values), copy.deepcopy(values["a"])

    result = substitute(values, ENVIRONMENT)

    assert (values, values["a"]) == before
    assert result.values["c"] is marker


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_has_no_reference_is_unchanged(values: Any) -> None:
    """Any data comes back equal once every `${` in it is escaped."""

    def escaped(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("${", "$${")
        if isinstance(value, list):
            return [escaped(item) for item in value]
        return {key: escaped(item) for key, item in value.items()} if isinstance(value, dict) else value

    result = substitute(escaped(values), {})

    assert result.values == values
    assert result.missing == result.broken == []
