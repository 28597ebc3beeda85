"""What ends a test from inside the function, and what only fails a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from penstock import Engine
from penstock.testing import Harness

Raise = Callable[[], Any]


class Exit(BaseException):
    """As pytest's own: not an `Exception`."""


class Checked(BaseModel):
    """Its validator is the user's code as well."""

    number: int

    @field_validator("number")
    @classmethod
    def judge(cls, _number: int) -> int:
        raise Exit


def function(form: str, throw: Raise) -> Callable[[Any], Any]:
    """A function of this form that fails."""

    def sync(_: Any) -> Any:
        throw()

    async def asynchronous(_: Any) -> Any:
        throw()

    async def later(_: Any) -> Any:
        await asyncio.sleep(1)
        throw()

    def generator(_: Any) -> Any:
        yield "out", 1
        throw()

    async def async_generator(_: Any) -> Any:
        yield "out", 1
        throw()

    found: Callable[[Any], Any] = locals()[form]
    return found


FORMS = ["sync", "asynchronous", "later", "generator", "async_generator"]


def harness(call: Callable[[Any], Any], *, batch: bool = False, model: type = int) -> Harness:
    """One engine, with a dead-letter queue, that tries once."""
    engine = Engine(
        input_queue="in",
        output_queues=["out"],
        dead_letter_queue="dead",
        queue_config={
            "queues": [
                {"name": "in", "profile": "memory", "batch": batch, "data_model": model},
                {"name": "out", "profile": "memory"},
                {"name": "dead", "profile": "memory-dlq"},
            ]
        },
        retry={"max_attempts": 1},
    )
    engine.stream_app(call)
    return Harness(engine)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_verdict_goes_through_run_at_once(form: str, batch: bool) -> None:
    """Of every form of function; the message stays, for no worker has judged it."""

    def throw() -> None:
        raise Exit

    with harness(function(form, throw), batch=batch) as tested:
        tested.send("in", 1)
        with pytest.raises(Exit):
            tested.run()
        assert (tested.left, tested.attempts, tested.dead_letters()) == (1, [1], [])


@pytest.mark.parametrize("form", FORMS)
def test_pytest_fails_the_test_from_inside(form: str) -> None:
    """That is what it is for."""
    with harness(function(form, lambda: pytest.fail("so it is"))) as tested:
        tested.send("in", 1)
        with pytest.raises(pytest.fail.Exception, match="so it is"):
            tested.run()


@pytest.mark.parametrize("form", FORMS)
def test_a_verdict_that_a_group_holds_goes_through_too(form: str) -> None:
    """A task group wraps what its tasks raise."""

    def throw() -> None:
        raise BaseExceptionGroup("tasks", [ValueError(), BaseExceptionGroup("inner", [Exit()])])

    with harness(function(form, throw)) as tested:
        tested.send("in", 1)
        with pytest.raises(Exit):
            tested.run()


def test_a_verdict_of_a_validator_goes_through_too() -> None:
    """It is the user's code as the function is."""
    with harness(lambda _: None, model=Checked) as tested:
        tested.send("in", {"number": 1})
        with pytest.raises(Exit):
            tested.run()
        assert tested.left == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        asyncio.CancelledError(),
        GeneratorExit(),
        BaseExceptionGroup("tasks", [asyncio.CancelledError(), ValueError()]),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("form", ["sync", "asynchronous", "later"])
def test_what_is_no_verdict_is_a_failed_call_as_in_a_worker(form: str, error: BaseException) -> None:
    """A cancellation, too: code under test raises it, no test does."""

    def throw() -> None:
        raise error

    with harness(function(form, throw)) as tested:
        tested.send("in", 1)
        tested.run()
        assert [letter.error_type for letter in tested.dead_letters()] == [type(error).__name__]
        assert tested.left == 0
