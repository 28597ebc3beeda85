"""Composes middleware around the call of a function, once, when an engine starts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from penstock.errors import FunctionError
from penstock.middleware import Call, EngineInfo, Wrapper
from penstock.pipeline.batch import Encoded
from penstock.pipeline.settlement import InvalidOutput

Encode = Callable[[Any, Any], Encoded]
SyncCall = Callable[[Call], None]
AsyncCall = Callable[[Call], Awaitable[None]]

_ENDED = object()


class Surroundings:
    """The wrappers around the calls of one engine.

    Args:
        wrappers: Functions with one `yield`, the outermost first.
        engine: What they may know of it.

    Raises:
        FunctionError: a wrapper is not a generator function, or is async where the engine's function is not.
    """

    def __init__(self, wrappers: Sequence[Wrapper], engine: EngineInfo) -> None:
        self._engine = engine
        self._wrappers = [(wrapper, _is_async(wrapper, engine)) for wrapper in reversed(wrappers)]

    def put_around(
        self,
        function: Callable[[Any, Any], Any],
        encode: Encode,
        add_headers: Callable[[Call], None],
        *,
        generates: bool,
    ) -> Callable[[Any, Any], Any]:
        """A call with all wrappers around it, which returns the encoded outputs, or an awaitable of them.

        Args:
            function: `function(model, message)`, or `function(models, messages)` for a batch.
            encode: `encode(result, message)`, for a result that is neither None nor True.
            add_headers: Adds the headers of a call to its outputs.
            generates: The result is what a generator yielded, encoded.
        """
        # Few frames: one costs about as much as what is done in it.
        engine, batch = self._engine, self._engine.batch
        if engine.is_async:

            async def call_function_async(call: Call) -> None:
                message = call.messages if batch else call.messages[0]
                result = await function(call.model, message)
                call.result = None if generates else result
                call.outputs = () if result is None or result is True else encode(result, message)

            run_async: AsyncCall = call_function_async
            for wrapper, is_async in self._wrappers:
                run_async = (_async_around if is_async else _sync_around_async)(wrapper, run_async)

            async def call_async(model: Any, message: Any) -> Encoded:
                call = Call(engine, message if batch else (message,), model)
                await run_async(call)
                if call.headers and call.outputs:
                    add_headers(call)
                return call.outputs

            return call_async

        def call_function(call: Call) -> None:
            message = call.messages if batch else call.messages[0]
            result = function(call.model, message)
            call.result = None if generates else result
            call.outputs = () if result is None or result is True else encode(result, message)

        run: SyncCall = call_function
        for wrapper, _ in self._wrappers:
            run = _sync_around(wrapper, run)

        def call_sync(model: Any, message: Any) -> Encoded:
            call = Call(engine, message if batch else (message,), model)
            run(call)
            if call.headers and call.outputs:
                add_headers(call)
            return call.outputs

        return call_sync


def _sync_around(wrapper: Any, inner: SyncCall) -> SyncCall:
    def run(call: Call) -> None:
        steps = wrapper(call)
        if next(steps, _ENDED) is _ENDED:
            _must_skip(call, wrapper)
            return
        try:
            if not call.skipped:
                inner(call)
        except BaseException as error:
            if not _handles(steps, call, error, wrapper):
                raise
        else:
            _end(steps, wrapper)

    return run


def _sync_around_async(wrapper: Any, inner: AsyncCall) -> AsyncCall:
    async def run(call: Call) -> None:
        steps = wrapper(call)
        if next(steps, _ENDED) is _ENDED:
            _must_skip(call, wrapper)
            return
        try:
            if not call.skipped:
                await inner(call)
        except BaseException as error:
            if not _handles(steps, call, error, wrapper):
                raise
        else:
            _end(steps, wrapper)

    return run


def _async_around(wrapper: Any, inner: AsyncCall) -> AsyncCall:
    async def run(call: Call) -> None:
        steps = wrapper(call)
        if await anext(steps, _ENDED) is _ENDED:
            _must_skip(call, wrapper)
            return
        try:
            if not call.skipped:
                await inner(call)
        except BaseException as error:
            if not await _handles_async(steps, call, error, wrapper):
                raise
        else:
            if await anext(steps, _ENDED) is not _ENDED:
                await steps.aclose()
                raise _second_yield(wrapper)

    return run


def _handles(steps: Any, call: Call, error: BaseException, wrapper: Any) -> bool:
    """Show an exception to a wrapper; returns whether it is dropped. The wrapper may raise another one instead."""
    shown = _shown(error)
    try:
        steps.throw(shown)
    except StopIteration:
        return _drops(call, error)
    except BaseException as raised:
        if raised is shown:
            return False
        raise
    steps.close()
    raise _second_yield(wrapper)


async def _handles_async(steps: Any, call: Call, error: BaseException, wrapper: Any) -> bool:
    shown = _shown(error)
    try:
        await steps.athrow(shown)
    except StopAsyncIteration:
        return _drops(call, error)
    except BaseException as raised:
        if raised is shown:
            return False
        raise
    await steps.aclose()
    raise _second_yield(wrapper)


def _drops(call: Call, error: BaseException) -> bool:
    # Only an explicit `skip` drops a failure, and none drops a cancellation or the end of the process.
    return call.skipped and isinstance(error, Exception)


def _end(steps: Any, wrapper: Any) -> None:
    if next(steps, _ENDED) is not _ENDED:
        steps.close()
        raise _second_yield(wrapper)


def _must_skip(call: Call, wrapper: Any) -> None:
    # A `return` before the yield could be a slip, and would lose the message.
    if not call.skipped:
        raise FunctionError(
            f"{name_of(wrapper)} returned before its `yield`, so the function was not called; yield once, or "
            f"call `skip()` to treat the message as processed"
        )


def _second_yield(wrapper: Any) -> FunctionError:
    return FunctionError(f"{name_of(wrapper)} yields a second time; the function is called at the first yield")


def _shown(error: BaseException) -> BaseException:
    """What a wrapper sees of an exception: for an invalid output, what is wrong with it."""
    cause = error.__cause__
    return cause if isinstance(error, InvalidOutput) and cause is not None else error


def _is_async(wrapper: Wrapper, engine: EngineInfo) -> bool:
    called = inspect.unwrap(wrapper)
    if not inspect.isroutine(called) and not isinstance(called, functools.partial):
        called = type(called).__call__
    if inspect.isgeneratorfunction(called):
        return False
    if not inspect.isasyncgenfunction(called):
        raise FunctionError(
            f"{name_of(wrapper)} is not a middleware; give a function with one `yield`, or a "
            f"penstock.middleware.Middleware"
        )
    if not engine.is_async:
        raise FunctionError(
            f"{name_of(wrapper)} is written with `async def`, and the function of engine {engine.name!r} is "
            f"not async; write one like the other"
        )
    return True


def name_of(wrapper: Any) -> str:
    """What errors call a wrapper."""
    return f"middleware {getattr(wrapper, '__qualname__', type(wrapper).__qualname__)}"
