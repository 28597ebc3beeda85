"""A queue on a disk, and its rules. Knows nothing of Penstock; every change is one atomic rename.

orders/new/00000001764…-6f1c.0        any consumer may take it; the last number counts its deliveries
orders/taken/4711-9ab3.lock           locked for as long as the process that wrote it lives
orders/taken/4711-9ab3/00…-6f1c.1     held by that process
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple


class Taken(NamedTuple):
    """A message that we hold."""

    name: str
    body: bytes
    deliveries: int


class Folder:
    """One queue, from whichever side.

    Attributes:
        new, taken: Its two directories.
    """

    def __init__(self, path: Path) -> None:
        self.new = path / "new"
        self.taken = path / "taken"
        self._numbers = count()

    def make(self) -> None:
        """Make the directories that are missing; the one above them must be there."""
        for each in (self.new.parent, self.new, self.taken):
            each.mkdir(exist_ok=True)

    def add(self, bodies: Sequence[bytes]) -> None:
        """Store messages: all of them are on the disk when this returns, none is visible before it is complete."""
        for body in bodies:
            name = f"{time.time_ns():020d}-{os.getpid()}-{next(self._numbers)}"
            hidden = self.new / f".{name}"
            with hidden.open("wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            hidden.rename(self.new / f"{name}.0")
        _sync(self.new)

    def waiting(self) -> list[str]:
        """The names of the messages that any consumer may take, the oldest first."""
        return sorted(name for name in os.listdir(self.new) if not name.startswith("."))


class Holder:
    """Takes messages out of a folder. As long as its process lives, no other process touches what it holds."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._home = folder.taken / self._owner
        # Locked before it can be seen: a lock file without a lock belongs to the dead.
        hidden = folder.taken / f".{self._owner}"
        self._lock = hidden.open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        hidden.rename(self._home.with_suffix(".lock"))
        self._home.mkdir()

    def take(self, most: int) -> list[Taken]:
        """Take messages. Two processes may try the same one: the rename tells who has it."""
        taken: list[Taken] = []
        for name in self._folder.waiting():
            if len(taken) == most:
                break
            stem, _, deliveries = name.rpartition(".")
            mine = f"{stem}.{int(deliveries) + 1}"
            try:
                (self._folder.new / name).rename(self._home / mine)
            except FileNotFoundError:
                continue  # another consumer was faster
            taken.append(Taken(mine, (self._home / mine).read_bytes(), int(deliveries) + 1))
        return taken

    def remove(self, names: Sequence[str]) -> int:
        """Settle messages for good; returns how many we did not hold any more."""
        missing = 0
        for name in names:
            try:
                (self._home / name).unlink()
            except FileNotFoundError:
                missing += 1
        return missing

    def requeue(self, names: Sequence[str]) -> None:
        """Make messages visible again; one that we do not hold is left alone."""
        for name in names:
            _move(self._home / name, self._folder.new / name)

    def close(self) -> None:
        """Give everything back and let go."""
        _empty(self._home, self._folder.new)
        self._home.with_suffix(".lock").unlink(missing_ok=True)
        self._lock.close()

    def rescue(self) -> None:
        """Requeue the messages of processes that have died: their locks can be taken."""
        for path in self._folder.taken.glob("*.lock"):
            if path.stem == self._owner:
                continue
            try:
                with path.open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _empty(path.with_suffix(""), self._folder.new)
                    path.unlink(missing_ok=True)
            except (BlockingIOError, FileNotFoundError):
                continue  # alive, or another consumer has just done it


def _empty(home: Path, new: Path) -> None:
    if home.is_dir():
        for path in home.iterdir():
            _move(path, new / path.name)
        home.rmdir()


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except FileNotFoundError:
        return  # it is not ours any more, and whose it is has decided about it


def _sync(directory: Path) -> None:
    # A rename is durable once the directory is.
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
