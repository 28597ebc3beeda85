"""The results that a function may return, and what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from penstock.errors import FunctionError, delay_problem
from penstock.message import Headers

SHAPES = (
    "None or True (done), False (requeue the message), an Output, (queue, object), (queue, object, {options}), "
    "or a list of those"
)

_OWN = frozenset({"self", "queue", "obj"})  # positional arguments of `Output`, not options


class Inherit:
    """The type of `INHERIT`."""

    def __repr__(self) -> str:
        return "INHERIT"


INHERIT: Final = Inherit()
"""The default key of an output: the input's key, so that an order by key is kept."""


_NOW: Final = 0.0


class Output:
    """One object for one queue, with the options of the producer.

    Args:
        queue: Name of one of the engine's output queues (or of its dead-letter queue).
        obj: The object; validated and encoded by that queue's model handler and serializer.
        key: Partitioning or grouping key, text or bytes. By default the input message's key is kept, where both queues
            have keys; None sends no key.
        headers: A mapping or pairs; values are text or bytes. Pairs, as a message has them, may have None.
        delay: Seconds until the message may be delivered, up to 1e9; the queue's connector must have the capability
            `record_delay`.
        **options: Further keywords for the connector, by its own names.

    Raises:
        FunctionError: key, headers or delay are of no legal kind.
    """

    __slots__ = ("delay", "headers", "key", "obj", "options", "queue")

    def __init__(
        self,
        queue: str,
        obj: Any,
        *,
        key: str | bytes | Inherit | None = INHERIT,
        headers: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes | None]] = (),
        delay: float = _NOW,
        **options: Any,
    ) -> None:
        self.queue = queue
        self.obj = obj
        self.key: bytes | Inherit | None = _key(queue, key)
        self.headers: Headers = _headers(queue, headers) if headers else ()
        self.delay = 0.0 if delay is _NOW or delay is None else _delay(queue, delay)
        self.options: dict[str, Any] | None = options or None

    def __repr__(self) -> str:
        return f"Output({self.queue!r}, {type(self.obj).__name__})"


M = TypeVar("M")


class TypedOutput(Generic[M]):
    """One output queue of an engine. Called with an object of its model, it makes the `Output`; see `Engine.output`.

    Attributes:
        queue: The queue's name.
        model: The type of its objects.
    """

    __slots__ = ("model", "queue")

    def __init__(self, queue: str, model: Any) -> None:
        self.queue = queue
        self.model = model

    def __call__(
        self,
        obj: M,
        *,
        key: str | bytes | Inherit | None = INHERIT,
        headers: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes | None]] = (),
        delay: float = _NOW,
        **options: Any,
    ) -> Output:
        """The object as an output for this queue; arguments as of `Output`."""
        return Output(self.queue, obj, key=key, headers=headers, delay=delay, **options)

    def __repr__(self) -> str:
        return f"TypedOutput({self.queue!r})"


def _key(queue: str, key: str | bytes | Inherit | None) -> bytes | Inherit | None:
    return key if key is None or isinstance(key, Inherit) else _bytes(queue, "key", key)


def _bytes(queue: str, what: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise FunctionError(f"an output for {queue!r}: its {what} is text that has no UTF-8") from error
    raise FunctionError(f"an output for {queue!r}: its {what} is {_describe(value)}; it must be text or bytes")


def _headers(queue: str, given: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes | None]]) -> Headers:
    pairs = list(given.items() if isinstance(given, Mapping) else given) if isinstance(given, Iterable) else [given]
    for pair in pairs:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise FunctionError(
                f"an output for {queue!r}: its headers hold {_describe(pair)}; give a mapping, or (name, value) pairs"
            )
    nulls = not isinstance(given, Mapping)  # in a mapping, None is probably a mistake
    return [
        (name, None if nulls and value is None else _bytes(queue, f"header {name!r}", value)) for name, value in pairs
    ]


def _delay(queue: str, delay: float) -> float:
    if (problem := delay_problem(delay)) is not None:
        negative = isinstance(delay, (int, float)) and delay < 0
        its_delay = f"delay={delay}; a delay" if negative else "its delay"
        raise FunctionError(f"an output for {queue!r}: {its_delay} is {problem}")
    return delay


def outputs(result: Any) -> Sequence[Any]:
    """The outputs in a result that is neither None nor a bool.

    Returns:
        A sequence whose items are `(queue, object)` tuples or anything that `as_output` understands.

    Raises:
        FunctionError: the result has another shape.
    """
    if isinstance(result, list):
        return result
    if isinstance(result, tuple):
        # ("queue", obj) is one output; a tuple of outputs is a sequence of them.
        return (result,) if result and isinstance(result[0], str) else result
    if isinstance(result, Output):
        return (result,)
    raise FunctionError(f"the function returned {_describe(result)}; it may return {SHAPES}")


def as_output(item: Any) -> Output:
    """One item of a result as an `Output`.

    Raises:
        FunctionError: the item has another shape.
    """
    if isinstance(item, Output):
        return item
    if isinstance(item, tuple) and len(item) in (2, 3) and isinstance(item[0], str):
        if len(item) == 2:
            return Output(item[0], item[1])
        options = item[2]
        if options is None:
            return Output(item[0], item[1])
        if isinstance(options, Mapping):
            if not _OWN.isdisjoint(options):
                raise FunctionError(f"an output for {item[0]!r}: 'self', 'queue' and 'obj' are not producer options")
            if not all(isinstance(name, str) for name in options):
                raise FunctionError(f"an output for {item[0]!r}: the name of an option is text")
            return Output(item[0], item[1], **options)
    wrong = _describe(item)
    raise FunctionError(f"the function's result holds {wrong}, which is not an output; it may return {SHAPES}")


def unknown_queue(queue: str, known: Iterable[str]) -> FunctionError:
    """The error for an output to a queue that the engine does not have."""
    names = ", ".join(repr(name) for name in known) or "none"
    return FunctionError(
        f"the function returned an output for {queue!r}, which is not an output queue of this engine "
        f"(it has: {names}); add it to output_queues"
    )


def _describe(value: Any) -> str:
    # The type and shape only: the value is message data.
    if isinstance(value, tuple):
        return f"a tuple of {len(value)} ({', '.join(type(part).__name__ for part in value[:4])})"
    article = "an" if type(value).__name__[:1].lower() in "aeiou" else "a"
    return f"{article} {type(value).__name__}"
