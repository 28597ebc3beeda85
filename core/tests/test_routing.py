"""What a function may return, and what it means; what it may not, and how it is told."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import FunctionError
from penstock.routing import INHERIT, SHAPES, Output, as_output, outputs, unknown_queue

SECRET = "4111-1111-1111-1111"
LEGAL = (
    "None or True (done), False (requeue the message), an Output, (queue, object), (queue, object, {options}), "
    "or a list of those"
)


def seen(result: Any) -> list[tuple[Any, ...]]:
    """What the engine would send for a result."""
    made = [as_output(item) for item in outputs(result)]
    return [(each.queue, each.obj, each.key, list(each.headers), each.delay, each.options) for each in made]


def plain(queue: str, obj: Any) -> tuple[Any, ...]:
    """An output about which nothing further is said."""
    return (queue, obj, INHERIT, [], 0.0, None)


Pair = namedtuple("Pair", "queue obj")


@pytest.mark.parametrize(
    ("result", "sent"),
    [
        (("q", 1), [("q", 1)]),
        (("q", None), [("q", None)]),
        (("q", "text"), [("q", "text")]),
        (("q", ("r", 1)), [("q", ("r", 1))]),
        ([("q", 1), ("r", 2)], [("q", 1), ("r", 2)]),
        ((("q", 1), ("r", 2)), [("q", 1), ("r", 2)]),
        ([], []),
        ((), []),
        (Pair("q", 1), [("q", 1)]),
        (Output("q", 1), [("q", 1)]),
        ([Output("q", 1), ("r", 2), ("s", 3, {})], [("q", 1), ("r", 2), ("s", 3)]),
        ((Output("q", 1),), [("q", 1)]),
        (("q", 1, {}), [("q", 1)]),
        (("q", 1, None), [("q", 1)]),
    ],
    ids=repr,
)
def test_every_legal_shape_means_what_it_looks_like(result: Any, sent: list[tuple[str, Any]]) -> None:
    """One output, several, or none; a pair whose first part is text is one output."""
    assert seen(result) == [plain(*each) for each in sent]


def test_the_third_part_of_an_output_says_what_an_output_can_say() -> None:
    """`(queue, object, {options})` and `Output(queue, object, **options)` are the same thing."""
    options = {"key": "k", "headers": {"h": "v"}, "delay": 2.5, "partition": 3, "priority": "high"}

    assert seen(("q", 1, options)) == seen(Output("q", 1, **options))
    assert seen(("q", 1, MappingProxyType(OrderedDict(options)))) == seen(("q", 1, options))
    assert seen(("q", 1, options)) == [
        ("q", 1, b"k", [("h", b"v")], 2.5, {"partition": 3, "priority": "high"}),
    ]


def a_generator() -> Iterator[tuple[str, int]]:
    """Not called by a function of ours: what a plain function may return by mistake."""
    yield ("q", 1)


@pytest.mark.parametrize(
    ("result", "described"),
    [
        (SECRET, "a str"),
        (SECRET.encode(), "a bytes"),
        ({"q": SECRET}, "a dict"),
        ({("q", SECRET)}, "a set"),
        (17, "an int"),
        (1.5, "a float"),
        (object(), "an object"),
        (a_generator(), "a generator"),
    ],
    ids=lambda value: type(value).__name__,  # never an address: test ids are the same in every process
)
def test_a_result_of_no_legal_shape_is_named(result: Any, described: str) -> None:
    """The error says what came and what may come, and shows nothing of the value."""
    with pytest.raises(FunctionError) as caught:
        outputs(result)

    assert str(caught.value) == f"the function returned {described}; it may return {LEGAL}"
    assert SHAPES == LEGAL


@pytest.mark.parametrize(
    ("result", "described"),
    [
        ([None], "a NoneType"),
        ([True], "a bool"),
        ([("q", 1), SECRET], "a str"),
        ([["q", SECRET]], "a list"),
        ([[("q", SECRET)]], "a list"),
        (("q",), "a tuple of 1 (str)"),
        (("q", 1, "key"), "a tuple of 3 (str, int, str)"),
        (("q", 1, {}, SECRET), "a tuple of 4 (str, int, dict, str)"),
        (("q", 1, {}, SECRET, 2, 3), "a tuple of 6 (str, int, dict, str)"),
        ([(1, SECRET)], "a tuple of 2 (int, str)"),
        ([(b"q", SECRET)], "a tuple of 2 (bytes, str)"),
        ([()], "a tuple of 0 ()"),
    ],
    ids=repr,
)
def test_an_item_of_no_legal_shape_is_named(result: Any, described: str) -> None:
    """The types of a tuple's parts tell which part is wrong; their values are message data."""
    with pytest.raises(FunctionError) as caught:
        seen(result)

    assert (
        str(caught.value) == f"the function's result holds {described}, which is not an output; it may return {LEGAL}"
    )


@pytest.mark.parametrize(
    ("key", "kept"),
    [("café", "café".encode()), (b"\xff\x00", b"\xff\x00"), ("", b""), (b"", b""), (None, None), (INHERIT, INHERIT)],
)
def test_a_key_is_text_or_bytes_or_none_or_the_inputs(key: Any, kept: Any) -> None:
    """Text is UTF-8; None sends no key; an empty key is a key; the default keeps the input's."""
    output = Output("q", 1, key=key)

    assert output.key == kept
    assert Output("q", 1).key is INHERIT
    assert repr(INHERIT) == "INHERIT"


@pytest.mark.parametrize(
    "headers",
    [
        {"a": "1", "b": b"\xff"},
        [("a", "1"), ("b", b"\xff")],
        (("a", "1"), ("b", b"\xff")),
        [["a", "1"], ["b", b"\xff"]],
    ],
    ids=repr,
)
def test_headers_are_a_mapping_or_pairs(headers: Any) -> None:
    """Values are text or bytes, and keep their order."""
    assert list(Output("q", 1, headers=headers).headers) == [("a", b"1"), ("b", b"\xff")]


def test_headers_of_a_message_may_have_nulls() -> None:
    """They are handed on as they came."""
    assert list(Output("q", 1, headers=[("a", None), ("b", b"")]).headers) == [("a", None), ("b", b"")]


def test_headers_may_come_from_an_iterator_and_repeat() -> None:
    """What comes in as pairs goes out as pairs: a name may stand twice."""
    assert list(Output("q", 1, headers=(("a", text) for text in "xy")).headers) == [("a", b"x"), ("a", b"y")]


@pytest.mark.parametrize(
    ("keywords", "problem"),
    [
        ({"key": 5}, "its key is an int; it must be text or bytes"),
        ({"key": ["a"]}, "its key is a list; it must be text or bytes"),
        ({"key": "\ud800"}, "its key is text that has no UTF-8"),
        ({"headers": {"h": 1}}, "its header 'h' is an int; it must be text or bytes"),
        ({"headers": {"h": None}}, "its header 'h' is a NoneType; it must be text or bytes"),
        ({"headers": {"h": "\ud800"}}, "its header 'h' is text that has no UTF-8"),
        ({"headers": {1: "v"}}, "its headers hold a tuple of 2 (int, str); give a mapping, or (name, value) pairs"),
        ({"headers": ["ab"]}, "its headers hold a str; give a mapping, or (name, value) pairs"),
        ({"headers": "h=v"}, "its headers hold a str; give a mapping, or (name, value) pairs"),
        ({"headers": [("a", "b", "c")]}, "its headers hold a tuple of 3 (str, str, str); give a mapping, or (name, "),
        ({"headers": 7}, "its headers hold an int; give a mapping, or (name, value) pairs"),
        ({"delay": -0.5}, "delay=-0.5; a delay is in seconds and cannot be negative"),
        ({"delay": "5"}, "its delay is not a number of seconds"),
        ({"delay": float("nan")}, "its delay is not a number of seconds"),
        ({"delay": float("inf")}, "its delay is not a number of seconds"),
        ({"delay": True}, "its delay is not a number of seconds but a bool"),
        ({"delay": False}, "its delay is not a number of seconds but a bool"),
        ({"delay": ""}, "its delay is not a number of seconds but a str"),
        ({"delay": 10**400}, "its delay is not a number of seconds from 0 to 1000000000"),
        ({"delay": Decimal(5)}, "its delay is not a number of seconds but a Decimal"),
        (
            {"delay": timedelta(seconds=5)},
            "its delay is not a number of seconds but a timedelta; give its total_sec",
        ),
    ],
    ids=repr,
)
@pytest.mark.parametrize("written", ["output", "tuple"])
def test_an_output_that_no_backend_could_take_is_refused_where_it_is_made(
    keywords: dict[str, Any], problem: str, written: str
) -> None:
    """Not in the producer, which does not know which function made it."""
    with pytest.raises(FunctionError) as caught:
        Output("q", SECRET, **keywords) if written == "output" else as_output(("q", SECRET, keywords))

    assert str(caught.value).startswith(f"an output for 'q': {problem}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["queue", "obj", "self"])
def test_an_option_cannot_say_again_what_the_place_says(name: str) -> None:
    """A queue in the options would contradict the queue in front."""
    with pytest.raises(FunctionError) as caught:
        as_output(("q", 1, {name: "r"}))

    assert str(caught.value) == "an output for 'q': 'self', 'queue' and 'obj' are not producer options"


def test_the_name_of_an_option_is_text() -> None:
    """It is a keyword for the connector."""
    with pytest.raises(FunctionError) as caught:
        as_output(("q", 1, {5: "r"}))

    assert str(caught.value) == "an output for 'q': the name of an option is text"


def test_an_output_can_be_made_by_keywords() -> None:
    """And its repr shows the kind of object, never the object."""
    output = Output(queue="q", obj=SECRET)

    assert (output.queue, output.obj, repr(output)) == ("q", SECRET, "Output('q', str)")


def test_an_unknown_queue_is_answered_with_the_known_ones() -> None:
    """And with where to add it."""
    assert str(unknown_queue("a", ["b", "c"])) == (
        "the function returned an output for 'a', which is not an output queue of this engine (it has: 'b', 'c'); "
        "add it to output_queues"
    )
    assert "(it has: none)" in str(unknown_queue("a", []))


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.binary(max_size=3) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.tuples(inner, inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(_anything)
def test_any_result_is_either_outputs_or_a_named_error(result: Any) -> None:
    """Whatever a function returns, nothing else escapes that would look like a bug of Penstock."""
    try:
        made = [as_output(item) for item in outputs(result)]
    except FunctionError:
        return
    assert all(isinstance(each, Output) and isinstance(each.queue, str) for each in made)
