"""What a configuration may contain, and the error for anything else."""

from __future__ import annotations

import pytest

from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError
from penstock_nats.options import NatsOptions


def resolve(subject: str = "shop.orders", **config: object) -> NatsOptions:
    """The options that a queue's `config:` becomes, on the way that every configuration takes."""
    configuration = load({"queues": {"orders": {"connector": "nats", "value": subject, "config": config}}})
    options = resolve_queue(configuration, "orders", "input", registry=registry_for(configuration)).options
    assert isinstance(options, NatsOptions)
    return options


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "USER", "PASSWORD", "TOKEN", "CREDS"):
        monkeypatch.delenv(f"NATS_{name}", raising=False)


def test_nothing_need_be_said() -> None:
    """A server on this machine is the default, as for every NATS client."""
    assert resolve().urls == ["nats://127.0.0.1:4222"]


def test_the_environment_says_where_and_who(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration is stronger; the password is in no repr."""
    monkeypatch.setenv("NATS_URL", "nats://a:4222, tls://b:4223")
    monkeypatch.setenv("NATS_PASSWORD", "hunter2")

    assert resolve().urls == ["nats://a:4222", "tls://b:4223"]
    assert resolve(servers="nats://c").urls == ["nats://c"]
    assert resolve().password is not None
    assert "hunter2" not in repr(resolve())


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"sevrers": "nats://a"}, "servers"),
        ({"servers": "a:4222"}, "nats://host:4222"),
        ({"servers": "nats://user:hunter2@a"}, "no user or password in a URL"),
        ({"ack_wait": 0}, "ack_wait"),
        ({"group": "a.b"}, "group"),
        ({"stream": "a b"}, "stream"),
        ({"creds_file": "/no/such.creds"}, "creds_file"),
        ({"token": "t", "user": "u"}, "token is set beside user"),
        ({"subject": "shop.*"}, "is not a subject to write to"),
        ({"subject": "shop..orders"}, "is not a subject to write to"),
        ({"subject": "$JS.API"}, "belong to NATS itself"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_opened(config: dict[str, str], problem: str) -> None:
    """The error names the key, and shows no secret."""
    with pytest.raises(ConfigError) as refused:
        resolve(**config)

    assert problem in str(refused.value)
    assert "hunter2" not in str(refused.value)
