"""What a configuration may say, and what it is told when it says something else."""

from __future__ import annotations

import pytest
from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError

from penstock_beanstalkd.options import BeanstalkdOptions


def resolve(value: str = "orders", **config: object) -> BeanstalkdOptions:
    """The options that a queue's `config:` becomes, on the way that every configuration takes."""
    configuration = load({"queues": {"orders": {"connector": "beanstalkd", "value": value, "config": config}}})
    options = resolve_queue(configuration, "orders", "input", registry=registry_for(configuration)).options
    assert isinstance(options, BeanstalkdOptions)
    return options


def test_everything_has_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address may come from the environment; what the configuration says is stronger."""
    monkeypatch.setenv("BEANSTALKD_HOST", "jobs.internal")

    assert resolve().host == "jobs.internal"
    assert resolve(host="localhost").host == "localhost"


@pytest.mark.parametrize(
    ("config", "problem"),
    [({"leese": 1}, "lease"), ({"lease": 0}, "lease"), ({"lease": 1.5}, "lease"), ({"priority": -1}, "priority")],
)
def test_what_cannot_work_is_refused_before_anything_is_opened(config: dict[str, object], problem: str) -> None:
    """The error names the key."""
    with pytest.raises(ConfigError, match=problem):
        resolve(**config)


@pytest.mark.parametrize("name", ["-orders", "or ders", "x" * 201])
def test_what_is_not_a_tubes_name_is_refused(name: str) -> None:
    """The server would not understand the command."""
    with pytest.raises(ConfigError, match="is not a tube's name"):
        resolve(name)
