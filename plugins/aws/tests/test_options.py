"""Options are judged before anything is opened, with the key, and without a secret."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError
from penstock_aws.options import Target


def resolve(connector: str = "sqs", value: str = "orders", role: str = "input", **config: Any) -> Any:
    queue = {"name": "q", "connector": connector, "value": value, "config": config}
    configuration = load([queue])
    return resolve_queue(configuration, "q", role, registry=registry_for(configuration)).options  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "target"),
    [
        ("orders", Target("orders")),
        ("arn:aws:sqs:eu-west-1:123:orders", Target("orders", None, "123", "eu-west-1")),
        (
            "https://sqs.eu-west-1.amazonaws.com/123/orders.fifo",
            Target("orders.fifo", "https://sqs.eu-west-1.amazonaws.com/123/orders.fifo", None, "eu-west-1"),
        ),
        ("http://localhost:9324/000/orders", Target("orders", "http://localhost:9324/000/orders")),
    ],
)
def test_a_value_is_a_name_an_arn_or_a_url(value: str, target: Target) -> None:
    """With the region and the account, where it says them."""
    assert Target.parse(value) == target


@pytest.mark.parametrize(
    ("queue", "problem"),
    [
        ({"visibilty_timeout": 30}, "visibility_timeout"),
        ({"visibility_timeout": 43_201}, "visibility_timeout"),
        ({"wait_time": 21}, "wait_time"),
        ({"endpoint_url": "localhost:9324"}, "an endpoint is a URL"),
        ({"endpoint_url": "http://user:hunter2@localhost"}, "without a user or password"),
        ({"access_key_id": "AKIA"}, "access_key_id is set without secret_access_key"),
        ({"secret_access_key": "hunter2"}, "secret_access_key is set without access_key_id"),
        ({"tls": {"ca": "/no/such.pem"}}, "tls.ca"),
        ({"value": "orders.fifo"}, "connector: sqs.fifo"),
        ({"connector": "sqs.fifo"}, "connector: sqs"),
        ({"connector": "sqs.fifo", "value": "o.fifo", "group": "a b"}, "group"),
        ({"connector": "sns", "role": "output"}, "not the ARN of a topic"),
        ({"connector": "sns", "value": "arn:aws:sns:eu-west-1:1:t"}, "has no consumer"),
    ],
)
def test_what_cannot_work_is_refused(queue: dict[str, Any], problem: str) -> None:
    """The sentence names what to change."""
    with pytest.raises(ConfigError) as refused:
        resolve(**queue)

    assert problem in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_the_environment_gives_region_and_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """As AWS's own tools read them."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:9324")

    options = resolve()
    assert (options.region, options.endpoint_url) == ("eu-west-1", "http://localhost:9324")
