"""Loads the fixtures that start real servers; pytest allows this in the root alone."""

from __future__ import annotations

from importlib import metadata

import pytest

pytest_plugins = [
    "tests.servers.kafka",
    "tests.servers.nats",
    "tests.servers.postgres",
    "tests.servers.redis",
    "tests.servers.proxy",
]

LONGEST = (
    "plugins/kafka/tests/test_conformance.py",
    "kit/tests/test_conformance_kit.py",
    "tests/third_party/",
    "tests/end_to_end/",
)


def pytest_configure() -> None:
    """Refuse an environment that has the core by its old name: it would find every plugin twice."""
    try:
        metadata.version("penstock")
    except metadata.PackageNotFoundError:
        return
    raise pytest.UsageError("pip uninstall -y penstock, then install all distributions again (CONTRIBUTING.md)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first, lest of several processes one be left alone with them at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
