"""Loads the fixtures that start real servers, and orders the tests for several processes."""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.long_conformance import leave_long_tests

from penstock import known_secrets

pytest_plugins = [
    "tests.servers.azurite",
    "tests.servers.kafka",
    "tests.servers.beanstalkd",
    "tests.servers.feed",
    "tests.servers.nats",
    "tests.servers.postgres",
    "tests.servers.pubsub",
    "tests.servers.rabbitmq",
    "tests.servers.redis",
    "tests.servers.servicebus",
    "tests.servers.sqs",
    "tests.servers.proxy",
]

# A busy machine makes no test fail: neither a slow example nor a slow choice of examples.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

CHAINS = {
    "a Kafka broker": (
        "plugins/kafka/tests/test_conformance.py",
        "tests/end_to_end/test_kill.py",
        "tests/end_to_end/test_stop.py",
        "tests/end_to_end/test_intro.py",
        "tests/test_docs.py",
    ),
    "a Kafka broker with share groups": (
        "plugins/kafka/tests/test_conformance_share.py",
        "plugins/kafka/tests/test_share.py",
    ),
    "another Kafka broker": ("plugins/kafka/",),
    "a RabbitMQ": ("plugins/rabbitmq/", "tests/end_to_end/test_three_servers.py"),
}
"""Files that one process runs, so that three Kafka brokers are started and not one in each process."""

LONGEST = (
    *CHAINS["a Kafka broker"],
    *CHAINS["another Kafka broker"],
    "plugins/azure/",
    "plugins/aws/",
    "plugins/http/",
    "tests/third_party/",
    "kit/tests/test_conformance_kit.py",
    "plugins/gcp/",
    "plugins/nats/",
    "plugins/rabbitmq/",
    "plugins/postgres/",
    "tests/end_to_end/",
    "plugins/redis/",
    "plugins/rsmq/",
    "plugins/sqlite/",
    "plugins/memory/",
)
"""Where the tests are that take longest."""


def pytest_configure() -> None:
    """Take signals as in a terminal: `nohup` and background jobs ignore them, and children inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _secrets_of_one_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test took for a password is an ordinary word in the next."""
    monkeypatch.setattr(known_secrets, "_known", set())


@pytest.fixture(autouse=True)
def _loggers_speak_again() -> Iterator[None]:
    """A test that leaves a logger of ours silent fails itself, not the next one that reads the log."""
    yield
    loggers = [(name, each) for name, each in logging.root.manager.loggerDict.items() if name.startswith("penstock")]
    silent = [name for name, each in loggers if isinstance(each, logging.Logger) and each.disabled]
    if silent:
        pytest.fail(f"loggers that this test left disabled: {silent}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that several processes end together."""
    leave_long_tests(items)
    items.sort(
        key=lambda item: next((n for n, part in enumerate(LONGEST) if item.nodeid.startswith(part)), len(LONGEST))
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let the collector skip what all tests share: each engine that a test runs would walk it, half a million objects.

    A worker leaves a collector alone that has settings of its own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of a chain in one process, and otherwise those of a file, as `--dist loadfile` does.

    A conformance class takes minutes, so each of a file's classes stays together by itself.
    """
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ChainScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            chain = next((name for name, files in CHAINS.items() if nodeid.startswith(files)), None)
            file, *names = nodeid.split("::")
            if chain is None and "/test_conformance" in file and len(names) > 1:
                return f"{file}::{names[0]}"
            return chain or super()._split_scope(nodeid)

    return ChainScheduling(config, log)
