"""What the connectors of one process share about one database file."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from weakref import WeakValueDictionary

from penstock_sqlite.presence import Presence


class SharedFile:
    """A database file in this process.

    Attributes:
        path: Absolute, without symbolic links.
        writing: Held during a transaction that writes. Threads that wait for it are woken at once; SQLite itself would
            let them sleep and look again.
        presence: Which consumers of the file live.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.writing = threading.Lock()
        self.presence = Presence(path)
        self._waiting: dict[str, set[Callable[[], None]]] = {}

    def wake(self, queue: str) -> None:
        """Wake this process's consumers of a queue."""
        for wake in tuple(self._waiting.get(queue, ())):
            wake()

    def wake_with(self, queue: str, wake: Callable[[], None]) -> None:
        """Call this at each `wake`."""
        self._waiting.setdefault(queue, set()).add(wake)

    def forget(self, queue: str, wake: Callable[[], None]) -> None:
        """Do not call this any more."""
        self._waiting.get(queue, set()).discard(wake)


_files: WeakValueDictionary[tuple[int, str], SharedFile] = WeakValueDictionary()
_lock = threading.Lock()


def shared_file(path: str) -> SharedFile:
    """The file at a path, the same object for every connector of this process."""
    with _lock:
        # A forked child has neither the locks nor the threads of its parent.
        key = (os.getpid(), os.path.realpath(path))
        found = _files.get(key)
        if found is None:
            found = _files[key] = SharedFile(key[1])
        return found
