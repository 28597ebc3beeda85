"""What a function's annotation makes of its input queue, and which annotations are refused before a message comes."""

from __future__ import annotations

import logging
import typing
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypedDict

import pytest
from core.tests.engine_fixture import EngineFixture, drain
from pydantic import BaseModel
from typing_extensions import TypeAliasType

from penstock.errors import FunctionError

OLD_LIST: Any = typing.List  # noqa: UP006  (older programs write it)


class Order(BaseModel):
    """A model."""

    n: int


def test_an_annotation_is_the_data_model_only_where_the_configuration_has_none(stand: EngineFixture) -> None:
    """What the configuration says, wins."""

    class Chosen(BaseModel):
        n: int

    class Annotated(BaseModel):
        n: int

    seen: list[Any] = []

    def function(message: Any) -> None:
        seen.append(type(message).__name__)

    function.__annotations__["message"] = Annotated
    stand.put(b'{"n": 1}')
    drain(stand.engine(function, []))
    stand.put(b'{"n": 1}')
    drain(stand.engine(function, [], source=stand.memory("in", data_model=Chosen)))
    stand.put(b'{"n": 1}')
    drain(stand.engine(function, [], source=stand.memory("in", model_handler=None)))

    assert seen == ["Annotated", "Chosen", "dict"]


def test_an_annotation_of_a_batch_is_a_list_of_models(stand: EngineFixture) -> None:
    """list[Order] for a queue with `batch: true`."""

    class Order(BaseModel):
        n: int

    seen: list[Any] = []

    def function(orders: Any) -> None:
        seen.extend(orders)

    function.__annotations__["orders"] = list[Order]
    stand.put(b'{"n": 1}', b'{"n": 2}')

    drain(stand.engine(function, [], source=stand.memory("in", batch=True)))

    assert seen == [Order(n=1), Order(n=2)]


def test_an_annotation_that_cannot_be_found_is_refused_unless_the_queue_says_more(stand: EngineFixture) -> None:
    """It asks for a validation that is not possible."""

    def one(order: Any) -> None: ...
    def many(orders: Any) -> None: ...

    one.__annotations__["order"] = "Invoice"
    many.__annotations__["orders"] = list["Invoice"]  # type: ignore[name-defined]  # noqa: F821
    told = r"its message is annotated with 'Invoice', .*not under TYPE_CHECKING, or give queue 'in' a 'data_model'"

    with pytest.raises(FunctionError, match=rf"one: {told}"):
        drain(stand.engine(one, []))
    with pytest.raises(FunctionError, match=rf"many: {told}"):
        drain(stand.engine(many, [], source=stand.memory("in", batch=True)))
    stand.put(b'{"n": 1}')
    drain(stand.engine(one, [], source=stand.memory("in", data_model=None)))


def annotated(annotation: Any, seen: list[Any]) -> Any:
    def function(message: Any) -> None:
        seen.append(message)

    function.__annotations__["message"] = annotation
    return function


class Row(TypedDict):
    """Plain data of a known form."""

    n: int


@pytest.mark.parametrize(
    "annotation", [Order, Row, int, dict[str, int], tuple[Order, ...], Order | None, Annotated[Order, "one"]]
)
def test_an_annotation_of_one_message_is_refused_for_a_batch(stand: EngineFixture, annotation: Any) -> None:
    """The function would be given a list in its place, or every message would be refused; both keys are named."""
    told = r"its message is annotated with .*, but queue 'in' is set to 'batch', .*; annotate list\[.*, or take 'batch'"

    for chosen in ({}, {"model_handler": None}):
        with pytest.raises(FunctionError, match=told):
            drain(stand.engine(annotated(annotation, []), [], source=stand.memory("in", batch=True, **chosen)))


@pytest.mark.parametrize(
    "annotation",
    [
        list[Order],
        Sequence[Order],
        Iterable[Order],
        list[Order] | None,
        "list[Order] | tuple[Order]",
        Annotated[list[Order], "many"],
        TypeAliasType("Orders", list[Order]),
    ],
    ids=str,
)
def test_an_annotation_of_many_messages_is_their_model(stand: EngineFixture, annotation: Any) -> None:
    """However it says that they are many."""
    seen: list[Any] = []
    stand.put(b'{"n": 1}', b'{"n": 2}')

    drain(stand.engine(annotated(annotation, seen), [], source=stand.memory("in", batch=True)))

    assert seen == [[Order(n=1), Order(n=2)]]


@pytest.mark.parametrize(
    "annotation",
    [list, OLD_LIST, Sequence, typing.Sequence, Iterable, typing.Iterable, list | None, object, Any, list[Any]],
)
def test_a_batch_of_nothing_in_particular_is_plain_items(stand: EngineFixture, annotation: Any) -> None:
    """A bare `list` is a list of whatever comes, not of lists."""
    seen: list[Any] = []
    stand.put(b'{"n": 1}')

    drain(stand.engine(annotated(annotation, seen), [], source=stand.memory("in", batch=True)))

    assert seen == [[{"n": 1}]]


def test_a_list_without_batch_is_one_message_and_the_log_says_so(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture
) -> None:
    """A body may be a JSON array; who meant several messages finds the key to set."""
    caplog.set_level(logging.INFO, "penstock")
    seen: list[Any] = []
    stand.put(b"[1, 2]")

    drain(stand.engine(annotated(list[int], seen), []))

    assert seen == [[1, 2]]
    assert (
        "queue 'in': annotated.<locals>.function is annotated with list[int], so one message is a JSON array; "
        "set batch: true on the queue if the function takes several messages" in caplog.messages
    )


@pytest.mark.parametrize("annotation", [list, OLD_LIST, Sequence])
def test_a_bare_list_without_batch_is_told_too(
    stand: EngineFixture, caplog: pytest.LogCaptureFixture, annotation: Any
) -> None:
    """Also where a profile gives the data model."""
    stand.put(b"[1]")
    with caplog.at_level(logging.INFO, logger="penstock"):
        drain(stand.engine(annotated(annotation, []), [], source=stand.memory("in", profile="memory")))

    assert "so one message is a JSON array; set batch: true on the queue" in caplog.text


@pytest.mark.parametrize("annotation", [tuple, set, frozenset])
def test_a_bare_collection_that_is_no_list_gets_one_to_write(stand: EngineFixture, annotation: Any) -> None:
    """list[tuple] would be accepted, and reject every message."""
    with pytest.raises(FunctionError, match=r"; annotate list, or take 'batch' off the queue"):
        drain(stand.engine(annotated(annotation, []), [], source=stand.memory("in", batch=True)))


def test_an_annotation_that_is_no_type_is_refused_by_its_functions_name(stand: EngineFixture) -> None:
    """Function, annotation and queue are named, and what to do."""
    with pytest.raises(FunctionError) as caught:
        drain(stand.engine(annotated(5, []), []))

    assert str(caught.value).startswith(
        "annotated.<locals>.function: its message is annotated with 5, of which PydanticModelHandler can build nothing "
        "for queue 'in': data model 5: pydantic cannot build it: "
    )
    assert str(caught.value).endswith("; annotate a type, or give the queue a 'data_model'")
