"""What many tests of the core share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from core.tests.adapted import WAIT
from core.tests.engine_fixture import EngineFixture


@pytest.fixture
def stand() -> EngineFixture:
    """Queues of the test's own."""
    return EngineFixture()


@pytest.fixture
def no_thread_is_left_behind() -> Iterator[None]:
    """A connector that is shut down, or was never connected, has no threads."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("penstock-") and thread.name.endswith(("-q", "-orders")):
            thread.join(WAIT)
            assert not thread.is_alive(), thread.name
