"""The user's function, looked at once: how it is called, and which functions are refused."""

from __future__ import annotations

import asyncio
import functools
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field

from penstock.errors import FunctionError
from penstock.message import QueueMessage
from penstock.pipeline.function import Function, understand

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

MESSAGE = QueueMessage("handle", b"body")
BATCH = [QueueMessage("one", b"1"), QueueMessage("two", b"2")]


def shown(value: object) -> str:
    """A test id that is the same in every process: without an address."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class KafkaMessage(QueueMessage):
    """A connector's own kind of message."""


class Order:
    """A model."""


def result(function: Function, model: Any = "model", message: Any = MESSAGE) -> Any:
    """Call it as the pipeline does."""
    if not function.is_async:
        made = function.call(model, message)
        return list(made) if function.generates else made

    async def main() -> Any:
        made = function.call(model, message)
        return [each async for each in made] if function.generates else await made

    return asyncio.run(main())


# -- kinds of functions


def sync(message: Any) -> Any:
    return [("q", message)]


async def coroutine(message: Any) -> Any:
    await asyncio.sleep(0)
    return [("q", message)]


def generator(message: Any) -> Iterator[Any]:
    yield "q", message


async def async_generator(message: Any) -> AsyncIterator[Any]:
    yield "q", message


def extra(extra: int, message: Any) -> Any:
    return [("q", message)] * extra


async def async_extra(message: Any, *, extra: int) -> Any:
    return [("q", message)] * extra


class Callables:
    """Every way of being called that an object has."""

    def __call__(self, message: Any) -> Any:
        return [("q", message)]

    def method(self, message: Any) -> Any:
        return [("q", message)]

    async def async_method(self, message: Any) -> Any:
        return [("q", message)]

    @staticmethod
    def static(message: Any) -> Any:
        return [("q", message)]

    @classmethod
    def of_the_class(cls, message: Any) -> Any:
        return [("q", message)]


class AsyncCallable:
    """Awaited."""

    async def __call__(self, message: Any) -> Any:
        return [("q", message)]


class GeneratorCallable:
    """Gathered, and with an attribute that partials have as well."""

    func = staticmethod(sync)

    def __call__(self, message: Any) -> Iterator[Any]:
        yield "q", message


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    """As users write decorators."""

    @functools.wraps(function)
    def wrapper(*arguments: Any, **keywords: Any) -> Any:
        return function(*arguments, **keywords)

    return wrapper


@pytest.mark.parametrize(
    ("function", "is_async", "name"),
    [
        (sync, False, "sync"),
        (coroutine, True, "coroutine"),
        (generator, False, "generator"),
        (async_generator, True, "async_generator"),
        (functools.partial(extra, 1), False, "extra"),
        (functools.partial(async_extra, extra=1), True, "async_extra"),
        (functools.partial(functools.partial(async_extra), extra=1), True, "async_extra"),
        (functools.partial(async_generator), True, "async_generator"),
        (Callables(), False, "Callables"),
        (Callables().method, False, "Callables.method"),
        (Callables().async_method, True, "Callables.async_method"),
        (Callables.static, False, "Callables.static"),
        (Callables.of_the_class, False, "Callables.of_the_class"),
        (AsyncCallable(), True, "AsyncCallable"),
        (functools.partial(AsyncCallable()), True, "AsyncCallable"),
        (GeneratorCallable(), False, "GeneratorCallable"),
        (decorated(sync), False, "sync"),
        (lambda message: [("q", message)], False, "<lambda>"),
    ],
    ids=lambda value: None if isinstance(value, bool | str) else shown(value)[:40],
)
def test_every_kind_of_function_gives_its_outputs(function: Callable[..., Any], is_async: bool, name: str) -> None:
    """Sync or async, plain or generator, bare or wrapped: called with a message it gives the same list."""
    understood = understand(function)

    assert (understood.is_async, understood.name) == (is_async, name)
    assert result(understood) == [("q", "model")]


def test_an_empty_generator_gives_no_outputs() -> None:
    """Which is a success without outputs."""

    def silent(message: Any) -> Iterator[Any]:
        yield from ()

    assert result(understand(silent)) == []


# -- msg_ctx


def context_last(message: Any, msg_ctx: Any) -> Any:
    return message, msg_ctx


def context_first(msg_ctx: Any, message: Any) -> Any:
    return message, msg_ctx


def context_by_keyword(message: Any, *, msg_ctx: Any) -> Any:
    return message, msg_ctx


def context_with_default(message: Any, msg_ctx: Any = None) -> Any:
    return message, msg_ctx


def context_after_slash(message: Any, /, msg_ctx: Any) -> Any:
    return message, msg_ctx


def context_amid_defaults(message: Any, threshold: int = 5, msg_ctx: Any = None) -> Any:
    assert threshold == 5
    return message, msg_ctx


async def async_context(msg_ctx: Any, message: Any) -> Any:
    return message, msg_ctx


def generator_context(message: Any, msg_ctx: Any) -> Iterator[Any]:
    yield from (message, msg_ctx)


WITH_CONTEXT = [
    context_last,
    context_first,
    context_by_keyword,
    context_with_default,
    context_after_slash,
    context_amid_defaults,
    async_context,
    generator_context,
    functools.partial(context_first),
]


@pytest.mark.parametrize("function", WITH_CONTEXT, ids=shown)
def test_msg_ctx_gets_the_connectors_handle_wherever_it_stands(function: Callable[..., Any]) -> None:
    """First, last, by keyword or with a default: it is known by its name."""
    assert tuple(result(understand(function))) == ("model", "handle")


@pytest.mark.parametrize("function", WITH_CONTEXT, ids=shown)
def test_msg_ctx_of_a_batch_is_a_list_of_handles(function: Callable[..., Any]) -> None:
    """One for each message, in their order."""
    assert tuple(result(understand(function), ["m1", "m2"], BATCH)) == (["m1", "m2"], ["one", "two"])


def whole(message: Any, msg_ctx: QueueMessage) -> Any:
    return msg_ctx


def whole_of_a_kind(message: Any, msg_ctx: KafkaMessage) -> Any:
    return msg_ctx


def whole_list(message: Any, msg_ctx: list[QueueMessage]) -> Any:
    return msg_ctx


def whole_sequence(message: Any, msg_ctx: Sequence[KafkaMessage]) -> Any:
    return msg_ctx


def whole_beside_the_unknown(message: OnlyForCheckers, msg_ctx: QueueMessage) -> Any:
    return msg_ctx


@pytest.mark.parametrize("function", [whole, whole_of_a_kind, whole_list, whole_sequence, whole_beside_the_unknown])
def test_msg_ctx_annotated_as_a_message_gets_the_message(function: Callable[..., Any]) -> None:
    """With key, headers, attempts and position; also beside an annotation that cannot be read."""
    given: Any = BATCH if function in (whole_list, whole_sequence) else MESSAGE

    shown = result(understand(function), "model", given)
    assert shown == given
    # Of a batch it is a list of its own.
    assert (shown is given) == (given is MESSAGE)


# -- annotations


def test_the_annotation_of_the_message_is_known() -> None:
    """It chooses the data model where the configuration does not."""

    def order(message: Order) -> None: ...
    def orders(message: list[Order]) -> None: ...
    def constrained(message: Annotated[int, Field(gt=0)]) -> None: ...
    def bare(message) -> None: ...  # type: ignore[no-untyped-def]

    assert understand(order).annotation is Order
    assert understand(orders).annotation == list[Order]
    assert understand(constrained).annotation.__metadata__[0].metadata[0].gt == 0
    assert understand(bare).annotation is Parameter.empty
    assert understand(functools.partial(order)).annotation is Order
    assert understand(decorated(order)).annotation is Order


def test_an_annotation_that_cannot_be_read_stays_text() -> None:
    """A name that exists only for type checkers, or inside another function, is not a reason to refuse the function."""

    class Local:
        """Not to be found from outside."""

    def for_checkers(message: OnlyForCheckers) -> None: ...
    def local(message: Local) -> None: ...
    def broken(message: "no expression") -> None: ...  # type: ignore[valid-type]  # noqa: F722

    assert understand(for_checkers).annotation == "OnlyForCheckers"
    assert understand(local).annotation == "Local"
    assert "no expression" in understand(broken).annotation


# -- what is refused


def none() -> None: ...
def only_context(msg_ctx: Any) -> None: ...
def two(first: Any, second: Any) -> None: ...
def three(first: Any, second: Any, msg_ctx: Any) -> None: ...
def default_only(message: Any = None) -> None: ...
def keyword_only(*, message: Any) -> None: ...
def keyword_too(message: Any, *, level: int) -> None: ...
def anything(*messages: Any, **options: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (none, "none()"),
        (only_context, "only_context(msg_ctx: 'Any')"),
        (two, "two(first: 'Any', second: 'Any')"),
        (three, "three(first: 'Any', second: 'Any', msg_ctx: 'Any')"),
        (default_only, "default_only(message: 'Any' = None)"),
        (keyword_only, "keyword_only(message: 'Any')"),
        (keyword_too, "keyword_too(message: 'Any', level: 'int')"),
        (anything, "anything(*messages: 'Any', **options: 'Any')"),
        (functools.partial(two), "two(first: 'Any', second: 'Any')"),
        (functools.partial(sync, "bound"), "sync()"),
    ],
    ids=shown,
)
def test_a_function_that_cannot_take_one_message_is_refused(function: Callable[..., Any], shown: str) -> None:
    """When it is decorated, with its own signature in the error."""
    with pytest.raises(FunctionError) as caught:
        understand(function)

    assert str(caught.value) == (
        f"{shown} cannot be a stream_app: it must take one message as its only required positional parameter, and may "
        f"take msg_ctx beside it"
    )


def test_defaults_and_variadic_parameters_are_left_alone() -> None:
    """Only what must be given counts."""

    def generous(message: Any, *rest: Any, threshold: int = 5, **more: Any) -> Any:
        return message, rest, threshold, more

    assert result(understand(generous)) == ("model", (), 5, {})


def test_msg_ctx_cannot_be_positional_only() -> None:
    """It is given by name."""

    def slashed(message: Any, msg_ctx: Any, /) -> None: ...

    with pytest.raises(FunctionError, match=r"slashed cannot be a stream_app: msg_ctx is given by name; put the '/' "):
        understand(slashed)


@pytest.mark.parametrize(("thing", "name"), [(5, "int"), ("text", "str"), (None, "NoneType")])
def test_what_is_no_function_is_refused(thing: Any, name: str) -> None:
    """As a decorator that was called by mistake gives it."""
    with pytest.raises(FunctionError, match=f"^a {name} cannot be a stream_app: it cannot be called; give a function$"):
        understand(thing)


def test_a_builtin_without_a_signature_is_refused() -> None:
    """It has no signature, so what it takes is unknown."""
    with pytest.raises(FunctionError, match=r"^dict cannot be a stream_app: .*; wrap it in a function of your own$"):
        understand(dict)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="before Python 3.14 such a function cannot be defined")
def test_an_annotation_that_only_type_checkers_know_is_kept() -> None:
    """The engine names it where it needs a type."""
    names: dict[str, Any] = {}
    exec(compile("def bill(order: Order): ...", "app.py", "exec", dont_inherit=True), names)

    assert understand(names["bill"]).annotation.__forward_arg__ == "Order"


# -- decorators


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ordinary decorator: it is not async, and hands on what the function returns."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def unlabelled(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes an async function a blocking one."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return wrapper


class Logged:
    """A decorator that is a class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


async def charge(order: Order) -> Any:
    await asyncio.sleep(0)
    return [("out", order)]


async def charges(order: Order) -> Any:
    yield "out", order


def bill(order: Order) -> Any:
    return [("out", order)]


def bills(order: Order) -> Any:
    yield "out", order


class Shop:
    """Its methods are functions of an engine."""

    def bill(self, order: Order) -> Any:
        return [("out", order)]

    async def charge(self, order: Order) -> Any:
        return [("out", order)]

    @staticmethod
    def tax(order: Order) -> Any:
        return [("out", order)]


@pytest.mark.parametrize("decorate", [logged, Logged, functools.partial, lambda f: logged(Logged(logged(f)))])
@pytest.mark.parametrize("function", [bill, bills, charge, charges, Shop().bill, Shop().charge, Shop.tax])
def test_a_function_behind_a_decorator_is_the_function_that_was_written(
    decorate: Callable[[Any], Any], function: Callable[..., Any]
) -> None:
    """Its name, its annotation, and what kind it is: what a decorator returns for an async function is awaited."""
    decorated_, plain = understand(decorate(function)), understand(function)

    assert (decorated_.name, decorated_.annotation) == (plain.name, Order)
    assert (decorated_.is_async, decorated_.generates) == (plain.is_async, plain.generates)
    if not plain.generates:
        assert result(decorated_) == result(plain) == [("out", "model")]


def test_a_cached_function_is_the_function_that_was_written() -> None:
    """`functools.cache` is a decorator, too."""
    cached = understand(functools.cache(bill))

    assert (cached.name, cached.annotation, result(cached)) == ("bill", Order, [("out", "model")])


def test_a_decorator_that_makes_an_async_function_blocking_is_called_on_a_thread() -> None:
    """There it may run an event loop of its own."""
    assert not understand(blocking(charge)).is_async
    assert result(understand(blocking(charge))) == [("out", "model")]


@pytest.mark.parametrize(
    ("function", "advice"),
    [
        (
            unlabelled(bill),
            "it is a decorator around bill, whose parameters it hides: in the decorator, write @functools",
        ),
        (
            unlabelled(charge),
            "it is a decorator around charge, whose parameters it hides: in the decorator, write @func",
        ),
        (Shop.bill, "it is a method: give one of an object, as in app.stream_app(shop.bill)"),
        (logged(Shop.charge), "it is a method: give one of an object, as in app.stream_app(shop.charge)"),
    ],
)
def test_a_refused_function_says_what_can_be_seen_of_the_reason(function: Callable[..., Any], advice: str) -> None:
    """A decorator without `functools.wraps`; a method without its object."""
    with pytest.raises(FunctionError) as caught:
        understand(function)

    assert advice in str(caught.value)


@pytest.mark.parametrize(
    "annotation", ["nowhere.QueueMessage", "list[nowhere.QueueMessage]", "nowhere.QueueMessage | None"]
)
def test_a_message_that_only_type_checkers_know_is_the_message(annotation: str) -> None:
    """Imported under TYPE_CHECKING, as linters move it."""

    def function(message: Any, msg_ctx: Any) -> Any:
        return msg_ctx

    function.__annotations__["msg_ctx"] = annotation

    assert result(understand(function), "model", MESSAGE) is MESSAGE
