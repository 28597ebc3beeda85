"""What SIGTERM, Ctrl-C and SIGHUP mean to a worker: first to finish, then to go. Nothing is installed at import."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penstock.worker.listener import STOP_SIGNALS, listening, nothing

__all__ = ["STOP_SIGNALS", "stop_signals"]

log = logging.getLogger("penstock")


@contextmanager
def stop_signals(on_stop: Callable[[], None], on_abort: Callable[[], None]) -> Iterator[None]:
    """Listen for SIGTERM, SIGINT and SIGHUP while the block runs; put back what listened before when it ends.

    Enter it inside the running event loop. Off the main thread, where Python delivers no signals, it does nothing:
    there the program stops the worker itself. A process that the block forks has none of these handlers.

    Args:
        on_stop: Called on the event loop after the first signal: begin to stop. Also if the signal came before, while
            the process listened already.
        on_abort: Called at the second signal, whichever it is: end now. It is called from the signal handler, on the
            main thread between any two steps of it, so that it works while a function blocks the loop. It should end
            the process, or only set flags and `call_soon_threadsafe`. The earlier handlers are back by then, so a
            third signal has its usual effect.
    """
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("%s was received", name)
        on_stop()

    def on_signal(name: str) -> None:
        # Waking the loop is all that is safe in a signal handler: a log handler may be in the middle of a line.
        loop.call_soon_threadsafe(stop, name)

    with listening(nothing, on_abort) as listener:
        if listener is None:
            yield
            return
        with _signals_wake(loop), listener.divert(on_signal, on_abort):
            yield


@contextmanager
def _signals_wake(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let every signal wake the loop.

    Python runs a handler only when the main thread runs Python. A signal that arrives just before the loop falls
    asleep, or on another thread, would wait for the next message; a byte on a socket that the loop watches does not.
    """
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        mine = writer.fileno()
        previous = signal.set_wakeup_fd(mine, warn_on_full_buffer=False)
        if previous != -1:
            # This loop has one, made by uvloop or for a handler of the application, which needs the bytes itself.
            signal.set_wakeup_fd(previous)
            yield
            return
        loop.add_reader(reader, reader.recv, 4096)
        try:
            yield
        finally:
            loop.remove_reader(reader)
            latest = signal.set_wakeup_fd(-1)
            if latest not in (mine, -1):
                signal.set_wakeup_fd(latest)  # another one was set meanwhile
