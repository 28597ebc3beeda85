"""Which consumers live: each locks a byte of a file, and the system unlocks it when the process ends, however it ends.

So the messages of a killed process need not wait for the end of their leases. The file is `DATABASE-owners`; it stays
empty, and beside the database.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress


class Presence:
    """The consumers of one database file, as seen from this process.

    Args:
        path: The database.
    """

    def __init__(self, path: str) -> None:
        self._database = path
        self._lock = threading.Lock()
        # One descriptor a process: closing any other one of this file would drop all of the process's locks.
        self._descriptor = -1
        self._here: set[int] = set()

    def enter(self, consumer: int) -> None:
        """Let others see that this consumer lives.

        Raises:
            OSError: the file cannot be opened or locked.
        """
        with self._lock:
            if self._descriptor < 0:
                mode = os.stat(self._database).st_mode & 0o666
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._descriptor = os.open(f"{self._database}-owners", flags, mode)
                with suppress(PermissionError):  # another user has created it
                    os.fchmod(self._descriptor, mode)  # whatever the umask, like SQLite's own files
            if consumer not in self._here:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, consumer)
                self._here.add(consumer)

    def leave(self, consumer: int) -> None:
        """Release the lock of a closed consumer. Idempotent."""
        with self._lock:
            if consumer in self._here:
                self._here.remove(consumer)
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, consumer)
            if not self._here and self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def is_gone(self, consumer: int) -> bool:
        """Whether the process of this consumer has ended. Asked by a process that has a consumer itself."""
        with self._lock:
            # A process is never kept out by its own locks, so these would look free.
            if consumer in self._here or self._descriptor < 0:
                return False
            try:
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, consumer)
            except OSError:
                return False
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, consumer)
            return True
