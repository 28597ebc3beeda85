"""What a configuration may contain, and the error for anything else. No error shows any part of a key."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.config.files import load
from penstock.config.resolve import registry_for, resolve_queue
from penstock.errors import ConfigError
from penstock_azure.storage_queue.bodies import decoded, encoded

KEY = "aHVudGVyMg=="
STORAGE = f"DefaultEndpointsProtocol=https;AccountName=shop;AccountKey={KEY};EndpointSuffix=core.windows.net"
BUS = f"Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=worker;SharedAccessKey={KEY}"


def resolve(connector: str, value: str = "orders", **config: Any) -> Any:
    """The options that a queue's `config:` becomes, on the way that every configuration takes."""
    configuration = load({"queues": {"orders": {"connector": connector, "value": value, "config": config}}})
    return resolve_queue(configuration, "orders", "input", registry=registry_for(configuration)).options


@pytest.mark.parametrize(
    ("connector", "variable", "text", "address"),
    [
        ("storage_queue", "AZURE_STORAGE_CONNECTION_STRING", STORAGE, "shop.queue.core.windows.net"),
        ("storage_queue", "AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true", "127.0.0.1:10001"),
        ("servicebus", "AZURE_SERVICE_BUS_CONNECTION_STRING", BUS, "shop.servicebus.windows.net"),
    ],
)
def test_the_connection_string_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, connector: str, variable: str, text: str, address: str
) -> None:
    """It says where the service is; neither the options' repr nor the address has the key."""
    monkeypatch.setenv(variable, text)
    options = resolve(connector)

    assert options.address == address
    assert KEY not in repr(options)


@pytest.mark.parametrize(
    ("connector", "config", "problem"),
    [
        ("storage_queue", {}, "connection_string"),
        ("storage_queue", {"connection_string": STORAGE, "visibilty_timeout": 5}, "visibility_timeout"),
        ("storage_queue", {"connection_string": STORAGE, "visibility_timeout": 0}, "visibility_timeout"),
        ("storage_queue", {"connection_string": STORAGE, "encoding": "hex"}, "encoding"),
        ("storage_queue", {"connection_string": STORAGE, "value": "Shop_Orders"}, "is not a name of a Storage Queue"),
        ("storage_queue", {"connection_string": STORAGE, "tls": {"ca": "/no/such.pem"}}, "cannot be read"),
        ("storage_queue", {"connection_string": f"AccountKey={KEY}"}, "no AccountName"),
        ("storage_queue", {"connection_string": f"{KEY[:9]};x"}, "is not a connection string"),
        ("storage_queue", {"connection_string": STORAGE.replace(KEY, KEY[1:])}, "is not a key in Base64"),
        ("storage_queue", {"connection_string": f"SharedAccessSignature={KEY}"}, "no QueueEndpoint"),
        ("servicebus", {}, "connection_string"),
        ("servicebus", {"connection_string": BUS, "lock_durtion": 5}, "lock_duration"),
        ("servicebus", {"connection_string": BUS, "lock_duration": 301}, "lock_duration"),
        ("servicebus", {"connection_string": BUS, "endpoint": "https://a"}, "sb://host:port"),
        ("servicebus", {"connection_string": f"{BUS};EntityPath=other"}, "is for the queue 'other'"),
        ("servicebus", {"connection_string": STORAGE}, "no Endpoint"),
        ("servicebus", {"connection_string": "Endpoint=sb://shop"}, "no SharedAccessKeyName and no SharedAccessKey"),
    ],
)
def test_what_cannot_work_is_rejected_before_anything_is_opened(
    connector: str, config: dict[str, Any], problem: str
) -> None:
    """The error names the key and what to do."""
    with pytest.raises(ConfigError) as rejected:
        resolve(connector, **{"value": "orders", **config})

    assert problem in str(rejected.value)
    assert KEY[1:-2] not in str(rejected.value)


@pytest.mark.parametrize("body", [b"", b"text", bytes(range(256)), "ü€".encode(), bytes(48 * 1024)])
def test_a_body_in_base64_comes_back(body: bytes) -> None:
    """Up to 48 KiB; what is not Base64 was written as text by another program."""
    assert decoded(encoded(body, "base64"), "base64") == body
    assert decoded("a <plain> text", "base64") == b"a <plain> text"


@pytest.mark.parametrize("body", [b"\0", b"a\r\nb", b"\xff", bytes(65_537), "\uffff".encode()])
def test_text_that_would_not_come_back_is_rejected(body: bytes) -> None:
    """What XML cannot carry, or would change, and what is too long."""
    with pytest.raises(ValueError, match="the body"):
        encoded(body, "text")

    assert decoded(encoded("a\tü\n".encode(), "text"), "text") == "a\tü\n".encode()
