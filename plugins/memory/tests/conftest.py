"""Queues of a test's own."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

import penstock_memory
from penstock_memory.options import MemoryOptions


@pytest.fixture
def namespace() -> Iterator[str]:
    """A namespace that no other test has."""
    name = uuid.uuid4().hex
    yield name
    penstock_memory.reset(name)


@pytest.fixture
def options(namespace: str) -> MemoryOptions:
    """Options for queues of this process."""
    return MemoryOptions(namespace=namespace)


@pytest.fixture
def make_options(namespace: str) -> Callable[..., MemoryOptions]:
    """Makes options for queues of this process."""
    return lambda **more: MemoryOptions(namespace=namespace, **more)
