"""Opens the resources of a worker before its first message, and closes them after the last, in reverse order.

An async resource lives in a task of its own from begin to end, because some libraries demand that. Any other resource
runs on threads, so that it holds up nothing else.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from typing import Any
from weakref import WeakKeyDictionary

from penstock.dead_letters import error_text
from penstock.errors import FunctionError, PenstockError
from penstock.known_secrets import hide
from penstock.pipeline.resources import Resource, Resources

log = logging.getLogger("penstock")

_ENDED = object()


class OpenResources:
    """The resources of one engine while it runs.

    Args:
        app: The engine's name.
        declared: Its resources.
        replaced: Values by name that take the place of resources, for tests.
    """

    def __init__(self, app: str, declared: Resources, replaced: Mapping[str, Any]) -> None:
        self._app = app
        self._declared = declared
        self._replaced = replaced
        self._given: list[dict[str, Any]] = []
        self._lives: list[_Life] = []

    def give(self, names: Iterable[str]) -> Mapping[str, Any]:
        """A mapping that has the values of these resources once they are open."""
        given: dict[str, Any] = dict.fromkeys(names)
        self._given.append(given)
        return given

    def bind(self, function: Callable[..., Any], what: str, own: int) -> Callable[..., Any]:
        """A function of `own` arguments, which gives resources to the other parameters of `function`."""
        names = self._declared.taken_by(function, what, own)
        if not names:
            return function
        given = self.give(names)

        @functools.wraps(function)
        def bound(*arguments: Any) -> Any:
            return function(*arguments, **given)

        return bound

    async def open(self) -> None:
        """Open the resources that are given to a function.

        Raises:
            PenstockError: a resource cannot be opened.
        """
        values = dict(self._replaced)
        scope = _scopes.setdefault(asyncio.get_running_loop(), _Scope())
        async with scope.lock:
            for resource in self._declared.needed({name for given in self._given for name in given}, self._replaced):
                life = scope.lives.get(resource.function) or _Life(scope, resource)
                try:
                    values[resource.name] = await life.open({name: values[name] for name in resource.takes})
                    life.users += 1
                    self._lives.append(life)
                except Exception as error:
                    raise PenstockError(f"engine {self._app!r}: {_not_opened(resource, error)}") from error
        for given in self._given:
            given.update((name, values[name]) for name in given)

    async def close(self, timeout: float) -> None:
        """Close what no other engine uses, the last one first. What fails, or takes too long, is logged."""
        while self._lives:
            life = self._lives.pop()
            life.users -= 1
            if life.users:
                continue
            try:
                async with asyncio.timeout(timeout):
                    await life.close()
            except TimeoutError:
                log.warning("engine %r: resource %r is not closed after %g s", self._app, life.resource.name, timeout)
            except Exception:
                log.exception("engine %r: resource %r failed while it was closed", self._app, life.resource.name)


class _Life:
    """One resource while it is open. The engines of a worker share it."""

    def __init__(self, scope: _Scope, resource: Resource) -> None:
        self.resource = resource
        self.users = 0
        self._scope = scope
        self._opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def open(self, takes: Mapping[str, Any]) -> Any:
        if self._task is None:
            self._task = asyncio.create_task(self._live(takes))
            try:
                await asyncio.wait({self._task, self._opened}, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:  # the engine is stopped meanwhile
                self._task.cancel()
                raise
            if not self._opened.done():
                await self._task  # it raises why
            self._scope.lives[self.resource.function] = self
        return self._opened.result()

    async def close(self) -> None:
        del self._scope.lives[self.resource.function]
        self._closing.set()
        if self._task is not None:
            await self._task

    async def _live(self, takes: Mapping[str, Any]) -> None:
        function, opened = self.resource.function, self._opened
        if inspect.isasyncgenfunction(function):
            generator = function(**takes)
            opened.set_result(_yielded(await anext(generator, _ENDED)))
            await self._closing.wait()
            _must_end(await anext(generator, _ENDED))
        elif inspect.isgeneratorfunction(function):
            steps = _SyncSteps(function(**takes))
            opened.set_result(_yielded(await steps.begin()))
            await self._closing.wait()
            _must_end(await steps.end())
        elif inspect.iscoroutinefunction(function):
            opened.set_result(await function(**takes))
        else:
            opened.set_result(await _in_thread(function, takes))


class _SyncSteps:
    """Drives a generator on threads."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._abandoned = False

    async def begin(self) -> Any:
        try:
            return await _in_thread(self._first)
        except asyncio.CancelledError:
            self._abandoned = True
            raise

    def _first(self) -> Any:
        value = next(self._generator, _ENDED)
        if self._abandoned:
            self._generator.close()  # the engine was stopped meanwhile
        return value

    async def end(self) -> Any:
        return await _in_thread(next, {}, self._generator, _ENDED)


class _Scope:
    """What is open in one worker, by the function that declares it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.lives: dict[Callable[..., Any], _Life] = {}


_scopes: WeakKeyDictionary[asyncio.AbstractEventLoop, _Scope] = WeakKeyDictionary()
"""A worker is an event loop."""


class _DaemonExecutor(Executor):
    """A daemon thread for each call: one that never returns does not keep the process from ending."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()

        def work() -> None:
            try:
                future.set_result(function(*arguments, **keywords))
            except BaseException as error:  # noqa: BLE001  (it is the caller's)
                future.set_exception(error)

        threading.Thread(target=work, name="penstock-resource", daemon=True).start()
        return future


_executor = _DaemonExecutor()


async def _in_thread(function: Callable[..., Any], keywords: Mapping[str, Any] | None = None, *arguments: Any) -> Any:
    call = functools.partial(contextvars.copy_context().run, function, *arguments, **(keywords or {}))
    return await asyncio.get_running_loop().run_in_executor(_executor, call)


def _yielded(value: Any) -> Any:
    if value is _ENDED:
        raise FunctionError("it yields nothing; yield the resource once")
    return value


def _must_end(value: Any) -> None:
    if value is not _ENDED:
        raise FunctionError("it yields a second time; yield the resource once")


def _not_opened(resource: Resource, error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = inspect.unwrap(resource.function).__code__.co_filename if hasattr(resource.function, "__code__") else ""
    place = next((f" ({each.filename}:{each.lineno})" for each in reversed(frames) if each.filename == own), "")
    return f"resource {resource.name!r} cannot be opened{place}: {type(error).__name__}: {hide(error_text(error))}"
