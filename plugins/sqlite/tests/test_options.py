"""What may stand under `config:`, and what it is told when it says something else."""

from __future__ import annotations

import pytest

from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError
from penstock_sqlite.options import SqliteOptions


def resolve(**config: object) -> SqliteOptions:
    """The options that a queue's `config:` becomes, on the way that every configuration takes."""
    configuration = load({"queues": {"orders": {"profile": "sqlite", "config": config}}})
    options = resolve_queue(configuration, "orders", "input", registry=registry_for(configuration)).options
    assert isinstance(options, SqliteOptions)
    return options


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQLITE_PATH", raising=False)


def test_a_path_is_enough() -> None:
    """Everything else has a default."""
    options = resolve(path="queues.db")

    assert (options.create, options.lease, options.synchronous) == (True, 60.0, "full")


def test_the_path_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the configuration says is stronger."""
    monkeypatch.setenv("SQLITE_PATH", "from-the-environment.db")

    assert resolve().path == "from-the-environment.db"
    assert resolve(path="from-the-config.db").path == "from-the-config.db"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({}, "SQLITE_PATH"),
        ({"path": "queues.db", "leese": 1}, "leese"),
        ({"path": "queues.db", "lease": 0}, "lease"),
        ({"path": "queues.db", "poll_interval": 0}, "poll_interval"),
        ({"path": "queues.db", "synchronous": "off"}, "synchronous"),
        ({"path": ":memory:"}, "use `connector: memory`"),
        ({"path": "file:queues.db?mode=ro"}, "write the plain path of a file"),
        ({"path": "sqlite:///queues.db"}, "write the plain path of a file"),
        ({"path": "queues/"}, "add the name of a file"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_opened(config: dict[str, object], problem: str) -> None:
    """The error names the key, or what to write."""
    with pytest.raises(ConfigError, match=problem):
        resolve(**config)
