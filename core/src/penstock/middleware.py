"""What stands around every call of an engine's function: tracing, time limits, deduplication.

A middleware is a function with one `yield`, at which the engine's function is called:

    def trace(call: Call) -> Iterator[None]:
        with tracer.span(parent=call.header("traceparent")) as span:
            call.add_header("traceparent", span.id)
            yield

Written with `def` it works around functions of every kind; written with `async def` it works around async functions
only. What the function raises is raised at the `yield`, and goes on afterwards unless the middleware calls `skip`.
Middleware that has options, or must know its engine, is a class derived from `Middleware`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ConfigDict

from penstock.message import QueueMessage, Record
from penstock.strict_model import StrictModel


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a middleware may know of its engine, and do with it.

    Attributes:
        name: The engine's `app_name`.
        input_queue: The name of its input queue.
        function: The name of its function.
        is_async: Whether the function runs on the event loop; otherwise it runs on a thread.
        batch: Whether the function takes a list of messages.
        count: `count(event, n)` adds to the metric `penstock_middleware_events_total`, from any thread. The name of an
            event is a fixed one, such as "timeout", because each makes a time series.
        stop: `stop(error)` stops the engine, and its worker, with this error, from any thread. What is not settled is
            delivered again.
    """

    name: str
    input_queue: str
    function: str
    is_async: bool
    batch: bool
    count: Callable[[str, int], None]
    stop: Callable[[Exception], None]


class Call:
    """One call of an engine's function.

    Attributes:
        engine: The engine that makes it.
        messages: The deliveries that the call is for: one, or those of a whole batch.
        model: What the function gets: one model, or the list of a whole batch. A middleware may replace it before the
            call.
        result: After the call: what the function returned. None if it is a generator function.
        outputs: After the call: the records that were made of the result, each with the name of its queue.
        headers: What `add_header` added.
        skipped: Whether `skip` was called.
    """

    __slots__ = ("engine", "headers", "messages", "model", "outputs", "result", "skipped")

    def __init__(self, engine: EngineInfo, messages: Sequence[QueueMessage], model: Any) -> None:
        self.engine = engine
        self.messages = messages
        self.model = model
        self.result: Any = None
        self.outputs: Sequence[tuple[str, Record]] = ()
        self.headers: list[tuple[str, bytes | None]] = []
        self.skipped = False

    @property
    def message(self) -> QueueMessage:
        """The delivery that the call is for; of a whole batch the first."""
        return self.messages[0]

    def header(self, name: str) -> bytes | None:
        """The value of the first header of `message` with this name, in any case; None if it has none."""
        name = name.lower()
        return next((value for key, value in self.message.headers if key.lower() == name), None)

    def add_header(self, name: str, value: str | bytes) -> None:
        """Add a header to every output of this call that has none of this name.

        It travels as a propagated header does: where the backend of the queue has headers, or, if `engine.propagate`
        names it, in an envelope.
        """
        self.headers.append((name, value.encode() if isinstance(value, str) else value))

    def skip(self) -> None:
        """Treat the message as processed: do not call the function, or, after the call, drop what it raised."""
        self.skipped = True


Wrapper = Callable[[Call], Iterator[None] | AsyncIterator[None]]
"""A function with one `yield`."""


class Limit(Protocol):
    """Says how many messages an engine may fetch. Its methods are called on the event loop, and never wait."""

    def room(self, now: float) -> int:
        """How many messages may be fetched now.

        Args:
            now: The event loop's time, in seconds.
        """

    def due_in(self, now: float) -> float:
        """Seconds until there is room."""

    def took(self, count: int, now: float) -> None:
        """The engine has fetched `count` messages."""


class Middleware(StrictModel):
    """Middleware with options: derive from it, one typed field for each option.

    A configuration that names it, `{name: acme, seconds: 5}`, makes it with the other keys; a program makes it as
    `Acme(seconds=5)`. Both methods are called once for each engine, before it starts, so that what they return belongs
    to that engine alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def around(self, engine: EngineInfo) -> Wrapper | None:  # noqa: ARG002  (for those who override it)
        """The function that stands around each call; None for none."""
        return None

    def limit(self, engine: EngineInfo) -> Limit | None:  # noqa: ARG002  (as above)
        """What limits how many messages the engine fetches; None for nothing."""
        return None


AnyMiddleware = Middleware | Wrapper | str | Mapping[str, Any]
"""What `Engine(middleware=[…])` takes: an object, a function, or what a configuration would write."""
