"""Listens for SIGTERM, Ctrl-C and SIGHUP from the start of a process on. It is imported first, so it imports little."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from penstock.queues import forks

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

_current: Listener | None = None  # signals belong to the process: one listens for all


class Stopped(KeyboardInterrupt):
    """A signal came before there was anything to stop in order."""


class Listener:
    """Counts the signals of a process.

    Args:
        on_stop: Called with the name of the first signal, from the signal handler.
        on_abort: Called at the second one, whichever it is, from the signal handler. The earlier handlers are back by
            then, so a third signal has its usual effect.

    Attributes:
        received: The name of the first signal; "" before.
        diverted: Whether a block of `divert` gets, or would have got, the first signal.
    """

    def __init__(self, on_stop: Callable[[str], None], on_abort: Callable[[], None]) -> None:
        self.received = ""
        self.diverted = False
        self._on_stop = on_stop
        self._on_abort = on_abort
        self._stops: list[Callable[[str], None]] = []  # of the blocks of `divert`
        self.holders = 0  # blocks of `listening`: the last one puts the earlier handlers back
        self.forget: Callable[[], None] = lambda: None  # ends what is done for forked children
        self._previous: dict[signal.Signals, object] = {}

    def install(self) -> None:
        """Listen from now on, but not for a SIGHUP that is ignored: `nohup` asks for that."""
        # Not loop.add_signal_handler: its handlers wait for the loop, so a function that blocks it could never be
        # aborted, and it cannot say what it replaced.
        for number in STOP_SIGNALS:
            if number in (signal.SIGTERM, signal.SIGINT) or signal.getsignal(number) == signal.SIG_DFL:
                self._previous[number] = signal.signal(number, self._handle)

    def restore(self) -> None:
        """Put the earlier handlers back, unless another one was installed meanwhile."""
        while self._previous:
            number, handler = self._previous.popitem()
            if signal.getsignal(number) == self._handle:
                # None: it was installed by C code, which Python cannot put back.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)  # type: ignore[arg-type]

    def restore_in_child(self) -> None:
        """In a forked child: the signals are what they were before, and none wakes the parent's event loop."""
        global _current
        _current = None
        self.restore()
        signal.set_wakeup_fd(-1)

    @contextmanager
    def divert(self, on_stop: Callable[[str], None], on_abort: Callable[[], None]) -> Iterator[None]:
        """Pass the signals to these functions while the block runs, at once if the first signal has come before.

        Afterwards the first signal changes nothing, since what could be stopped has ended.
        """
        before, self._on_abort, self.diverted = self._on_abort, on_abort, True
        self._stops.append(on_stop)
        if self.received:
            on_stop(self.received)
        try:
            yield
        finally:
            self._stops.remove(on_stop)
            self._on_abort = before

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self.received:
            self.received = signal.Signals(number).name
            if not self.diverted:
                self._on_stop(self.received)
            for on_stop in tuple(self._stops):
                on_stop(self.received)
        else:
            self.restore()
            self._on_abort()


@contextmanager
def listening(on_stop: Callable[[str], None], on_abort: Callable[[], None]) -> Iterator[Listener | None]:
    """Listen while the block runs, and put back what listened before when it ends.

    Yields:
        The listener: the one that listens already, if there is one. None off the main thread, where Python delivers
        no signals: there the program stops the worker itself.
    """
    global _current
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    listener = _current
    if listener is None:
        listener = _current = Listener(on_stop, on_abort)
        listener.forget = forks.on_child(listener.restore_in_child)
        listener.install()
    listener.holders += 1
    try:
        yield listener
    finally:
        listener.holders -= 1
        if not listener.holders:
            _current = None
            listener.restore()
            listener.forget()


def nothing(_name: str) -> None:
    """Do nothing on a first signal that only has to be remembered."""


def stop_early(name: str) -> None:
    """Stop at once on a first signal while a program is imported: nothing is under way, and the import may take long.

    Raises:
        Stopped: always.
    """
    raise Stopped(name)
