"""Processes that call handlers. The worker keeps each message until it was handled, so a death costs none.

A process that dies is replaced when the next message needs it; the calls that it had fail, and are tried again.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

log = logging.getLogger("penstock.compat.romeways")

CLOSED = 5.0  # seconds that a process has to end


class ProcessDied(Exception):
    """The process that had the message died."""


class HandlerFailed(Exception):
    """The handler raised; the text says what."""


class Processes:
    """Some processes, started when they are first needed.

    Args:
        size: How many.
    """

    def __init__(self, size: int) -> None:
        # Everywhere the same: a fork would copy the locks of this process's threads as they are.
        self._context = multiprocessing.get_context("spawn")
        self._children: list[_Child | None] = [None] * size
        self._turn = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            if child is not None:
                child.close()

    async def call(self, handler: Callable[..., Any], body: bytes) -> bytes | None:
        """Call a handler in the process whose turn it is.

        Raises:
            ProcessDied, HandlerFailed: the call failed.
        """
        place = next(self._turn) % len(self._children)
        child = self._children[place]
        if child is None or child.dead:
            child = self._children[place] = _Child(self._context, place + 1)
        return await child.call(handler, body)


class _Child:
    def __init__(self, context: Any, number: int) -> None:
        self.dead = False
        self._number = number
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[bytes | None]] = {}
        self._ids = count()
        self._sending = asyncio.Lock()
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        log.info("process %d of the handlers is %d", number, self._process.pid)
        threading.Thread(target=self._receive, name=f"handlers-{number}", daemon=True).start()

    async def call(self, handler: Callable[..., Any], body: bytes) -> bytes | None:
        number = next(self._ids)
        answer: asyncio.Future[bytes | None] = self._loop.create_future()
        self._waiting[number] = answer
        try:
            # On a thread: a handler that blocks its process lets the pipe fill, and the worker must go on.
            async with self._sending:
                await asyncio.to_thread(self._pipe.send, (number, handler, body))
        except OSError:
            pass  # it has died, as the thread that receives tells all that wait
        except BaseException:
            self._waiting.pop(number, None)
            raise
        return await answer

    def _receive(self) -> None:
        try:
            while True:
                self._loop.call_soon_threadsafe(self._answered, *self._pipe.recv())
        except (EOFError, OSError):
            self._process.join(CLOSED)
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._died)

    def _answered(self, number: int, error: str | None, again: bytes | None) -> None:
        answer = self._waiting.pop(number, None)
        if answer is None or answer.done():  # its caller was cancelled
            return
        if error is None:
            answer.set_result(again)
        else:
            answer.set_exception(HandlerFailed(error))

    def _died(self) -> None:
        if self.dead:
            return
        self.dead = True
        log.warning("process %d of the handlers, %s, has ended with exit code %s; the next message gets another one",
                    self._number, self._process.pid, self._process.exitcode)  # fmt: skip
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ProcessDied(f"process {self._process.pid} has died with the message"))
        self._waiting.clear()

    def close(self) -> None:
        self.dead = True
        self._pipe.close()
        self._process.join(CLOSED)
        if self._process.is_alive():
            self._process.kill()


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the worker ends this one
    asyncio.run(_serve_until_closed(pipe))


async def _serve_until_closed(pipe: Connection) -> None:
    from penstock_compat.romeways.registry import handled

    tasks: set[asyncio.Task[None]] = set()

    async def answer(number: int, handler: Callable[..., Any], body: bytes) -> None:
        error, again = None, None
        try:
            again = await handled(handler, body)
        except Exception as raised:
            log.exception("%s has failed", handler.__name__)
            error = f"{type(raised).__name__}: {raised}"
        pipe.send((number, error, again))

    with suppress(EOFError, OSError):
        while True:
            task = asyncio.create_task(answer(*await asyncio.to_thread(pipe.recv)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
