"""What SIGTERM and Ctrl-C mean to a worker: first to finish, then to go. Nothing is installed at import."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_signals(on_stop: Callable[[], None], on_abort: Callable[[], None]) -> Iterator[None]:
    """Listen for SIGTERM and SIGINT while the block runs; put back what listened before when it ends.

    Enter it inside the running event loop. Off the main thread, where Python delivers no signals, it does nothing:
    there whoever started the thread stops the worker.

    Args:
        on_stop: Called on the event loop after the first signal: begin to stop.
        on_abort: Called at the second signal, whichever it is: end now. It is called from the signal handler, on the
            main thread between any two steps of it, so that it works while a function blocks the loop. It should end
            the process, or only set flags and `call_soon_threadsafe`. The earlier handlers are back by then, so a
            third signal has its usual effect.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    listener = _Listener(loop, on_stop, on_abort)
    with _signals_wake(loop):
        listener.install()
        try:
            yield
        finally:
            listener.restore()


class _Listener:
    """Counts the signals of one block."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_stop: Callable[[], None], on_abort: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_stop = on_stop
        self._on_abort = on_abort
        self._stopping = False
        self._previous: dict[signal.Signals, object] = {}

    def install(self) -> None:
        # Not loop.add_signal_handler: its handlers wait for the loop, so a function that blocks it could never be
        # aborted, and it cannot say what it replaced.
        for number in STOP_SIGNALS:
            self._previous[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Put the earlier handlers back, unless somebody has installed another one meanwhile."""
        while self._previous:
            number, handler = self._previous.popitem()
            if signal.getsignal(number) == self._handle:
                # None: it was installed by C code, which Python cannot put back.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            # Waking the loop is all that is safe here: a log handler may be in the middle of a line.
            self._loop.call_soon_threadsafe(self._stop, signal.Signals(number).name)
        else:
            self.restore()
            self._on_abort()

    def _stop(self, name: str) -> None:
        log.info("%s: finishing what has begun; a second signal ends at once", name)
        self._on_stop()


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
                signal.set_wakeup_fd(latest)  # somebody else's, made meanwhile
