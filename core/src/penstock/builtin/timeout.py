"""`timeout`: how long one call of the function may take.

An async function is cancelled when its time is over. A thread cannot be stopped, so a call that blocks one is reported
with its stack, and, if wanted, the worker is ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from pydantic import Field

from penstock.errors import PenstockError
from penstock.middleware import Call, EngineInfo, Middleware, Wrapper

log = logging.getLogger("penstock")

LATE = 1.0  # seconds that a cancelled call may take to end before its thread counts as blocked
LONGEST_LOOK = 1.0  # seconds between two looks at the calls under way
LAST_CHANCE = 1.0  # seconds in which an event loop that still turns takes notice of a stop


class Timeout(Middleware):
    """How long one call may take, of a batch all messages together.

    Attributes:
        seconds: After them an async function is cancelled, and its call fails with `TimeoutError`. A call that blocks
            its thread is reported with the thread's stack; it goes on, and its result counts when it comes.
        end_worker: Also end the worker when a thread is blocked, so that its supervisor starts another one. The other
            calls get `shutdown_timeout`; what is not settled then is delivered again.
    """

    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    end_worker: bool = False

    def around(self, engine: EngineInfo) -> Wrapper:
        """Cancel calls of an async function, watch those of any other."""
        watchdog = _Watchdog(self, engine)
        seconds = self.seconds

        def watch(call: Call) -> Iterator[None]:
            token = watchdog.begin(call, seconds)
            try:
                yield
            finally:
                watchdog.end(token)

        async def cancel(call: Call) -> AsyncIterator[None]:
            token = watchdog.begin(call, seconds + LATE)
            try:
                async with asyncio.timeout(seconds) as limit:
                    yield
            except TimeoutError as error:
                if not limit.expired():
                    raise
                engine.count("timeout", 1)
                raise TimeoutError(f"the call was cancelled after {seconds:g} s") from error
            finally:
                watchdog.end(token)

        return cancel if engine.is_async else watch


class _Watchdog:
    """Looks for calls that block their threads. Its thread lives while calls are under way."""

    def __init__(self, settings: Timeout, engine: EngineInfo) -> None:
        self._settings = settings
        self._engine = engine
        self._calls: dict[object, tuple[float, int, Call]] = {}  # until when, on which thread
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop = asyncio.get_running_loop() if engine.is_async else None

    def begin(self, call: Call, seconds: float) -> object:
        """Watch a call of this thread; returns what `end` takes."""
        token = object()
        self._calls[token] = (time.monotonic() + seconds, threading.get_ident(), call)
        if self._thread is None:
            self._start()
        return token

    def end(self, token: object) -> None:
        """The call has returned."""
        self._calls.pop(token, None)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and self._calls:
                self._thread = threading.Thread(target=self._watch, name="penstock-timeout", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while self._calls:
            time.sleep(min(LONGEST_LOOK, self._settings.seconds / 4))
            now = time.monotonic()
            for token, (deadline, thread, call) in tuple(self._calls.items()):
                if deadline <= now and self._calls.pop(token, None) is not None:
                    self._report(thread, call)
        self._thread = None
        self._start()  # a call may have begun in between

    def _report(self, thread: int, call: Call) -> None:
        engine = self._engine
        engine.count("timeout", 1)
        frame = sys._current_frames().get(thread)
        log.error(
            "engine %r: a call of %s for the message at %s of %r has not returned after %g s; its thread is at\n%s",
            engine.name,
            engine.function,
            call.message.position or "?",
            engine.input_queue,
            self._settings.seconds,
            "".join(traceback.format_stack(frame)) if frame else "(it has just ended)",
        )
        if self._settings.end_worker:
            self._end_worker()

    def _end_worker(self) -> None:
        engine = self._engine
        engine.stop(
            PenstockError(
                f"engine {engine.name!r}: a call of {engine.function} blocks its thread for more than "
                f"{self._settings.seconds:g} s; the worker ends, and what is not settled is delivered again"
            )
        )
        if self._loop is None:
            return
        turned = threading.Event()
        try:
            self._loop.call_soon_threadsafe(turned.set)
        except RuntimeError:  # it is closed: the engine has ended
            return
        if not turned.wait(LAST_CHANCE):
            log.error("engine %r: the event loop is blocked, so nothing can be stopped in order; ending at once",
                      engine.name)  # fmt: skip
            os._exit(1)
