"""Queues of a test's own, and brokers that end with it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import penstock_memory
from penstock_memory.options import MemoryOptions


class Place:
    """Where a broker may listen: a socket's path that no other test has."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "s.sock"
        self.lock = directory / "s.sock.lock"
        self.url = f"unix://{self.path}"

    def options(self, **more: Any) -> MemoryOptions:
        """Options for queues of the broker here."""
        return MemoryOptions(url=self.url, **more)

    def pid(self) -> int:
        """The process that listens here, as it has written beside its socket."""
        return int(self.lock.read_text())

    def is_taken(self) -> bool:
        """Whether a process lives that has claimed this place."""
        try:
            lock = os.open(self.lock, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace that nobody else has."""
    name = uuid.uuid4().hex
    yield name
    penstock_memory.reset(name)


@pytest.fixture
def options(namespace: str) -> MemoryOptions:
    """Options for queues of this process."""
    return MemoryOptions(namespace=namespace)


@pytest.fixture
def place() -> Iterator[Place]:
    """A place for a broker; whoever listens there at the end is ended."""
    # Not tmp_path: with a long test name it passes the length that a socket's path may have.
    directory = Path(tempfile.mkdtemp(prefix="penstock-"))
    place = Place(directory)
    yield place
    # ValueError: a broker that could not listen here has not signed.
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(place.pid(), signal.SIGTERM)
    asyncio.run(_until(lambda: not place.is_taken()))
    shutil.rmtree(directory)


@pytest.fixture(params=["process", "broker"])
def either(request: pytest.FixtureRequest) -> Callable[..., MemoryOptions]:
    """Makes options for a queue of this process, then for one of a broker: the same promises hold for both."""
    if request.param == "broker":
        return request.getfixturevalue("place").options
    namespace = request.getfixturevalue("namespace")
    return lambda **more: MemoryOptions(namespace=namespace, **more)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Looks until something is so, while the loop goes on."""
    return _until


async def _until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
