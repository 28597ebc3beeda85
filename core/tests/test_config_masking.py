"""No secret is ever printed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr

from penstock.config.masking import is_secret, mask_text, scrub, shown
from penstock.known_secrets import MASK
from penstock.options import ConnectorOptions, FromEnvironment


class Inner(BaseModel):
    """Nested options."""

    key_password: SecretStr = SecretStr("hunter2")
    file: str = "key.pem"


class Options(ConnectorOptions):
    """Every way to hold a secret, and what only sounds like one."""

    model_config = ConfigDict(extra="allow")

    pin: SecretStr | None = None
    raw: SecretBytes | None = None
    several: list[SecretStr] = Field(default_factory=list)
    aliased: Annotated[SecretStr | None, FromEnvironment("X")] = Field(default=None, alias="the.pin")
    password: str | None = None
    token_seconds: float = 1.0
    private: bool = False
    secret_mode: Literal["on", "off"] = "on"
    host: str = "h"
    inner: Inner = Field(default_factory=Inner)


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("pin", True),
        ("raw", True),
        ("several", True),
        ("aliased", True),
        ("the.pin", True),
        ("password", True),
        ("secret_mode", True),
        ("sasl.password", True),
        ("ssl.key.pem", True),
        ("API_KEY", True),
        ("host", False),
        ("token_seconds", False),
        ("private", False),
        ("group.id", False),
    ],
)
def test_a_key_is_secret_by_its_type_or_by_its_name(key: str, secret: bool) -> None:
    """A typed secret, a declared text or a passed-on key with a telling name; no number and no switch."""
    assert is_secret(Options, key) is secret


@pytest.mark.parametrize(
    ("value", "key", "expected"),
    [
        (SecretStr("hunter2"), "", MASK),
        ("hunter2", "password", MASK),
        (12345, "db_password", MASK),
        (None, "password", "none"),
        (True, "batch", "yes"),
        (3, "retries", "3"),
        (["a", SecretStr("b")], "hosts", f"[a, {MASK}]"),
        (
            {"user": "u", "passwd": "hunter2", "deep": {"token": "hunter2"}},
            "auth",
            f"{{user: u, passwd: {MASK}, deep: {{token: {MASK}}}}}",
        ),
        ("redis://user:hunter2@host:6379/0", "value", f"redis://{MASK}@host:6379/0"),
        (Inner(), "tls", f"{{key_password: {MASK}, file: key.pem}}"),
        ("two\nlines \x1b[31m", "x", "two\\nlines \\x1b[31m"),
        (Inner, "data_model", f"{__name__}.Inner"),
        (list[int], "data_model", "list[int]"),
        (Any, "data_model", "typing.Any"),
        (mask_text, "callback", "penstock.config.masking.mask_text"),
    ],
)
def test_a_value_is_shown_as(value: Any, key: str, expected: str) -> None:
    """Fit to be printed, whatever it is."""
    assert shown(value, None, key) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://u:p@h1:1,h2:2/db", f"postgresql://{MASK}@h1:1,h2:2/db"),
        ("amqps://u:p/w@d@host", f"amqps://{MASK}@host"),
        ("redis://host:6379", "redis://host:6379"),
        ("host=h user=u password=hunter2 dbname=d", f"host=h user=u password={MASK} dbname=d"),
        ("host=h password='hun ter2' dbname=d", f"host=h password={MASK} dbname=d"),
        ('Module required username="u" password="hunter2";', f'Module required username="u" password={MASK};'),
        ("https://h/?api_key=hunter2&x=1", f"https://h/?api_key={MASK}&x=1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", MASK),
        ("orders@example", "orders@example"),
    ],
)
def test_credentials_inside_of_a_text_are_masked(text: str, expected: str) -> None:
    """URLs, connection strings, JAAS lines and key files."""
    assert mask_text(text) == expected


def test_a_strangers_message_is_scrubbed() -> None:
    """Every secret value that stands in it goes, nested and typed ones too; the rest stays."""
    values = {
        "password": "hunter2",
        "pin": SecretStr("7"),
        "nested": {"token": "abcdef"},
        "host": "h",
        "raw": b"bytes7",
    }

    text = scrub("hunter2 at h:17 says abcdef, 7 and bytes7", values, Options)

    assert text == f"{MASK} at h:17 says {MASK}, {MASK} and {MASK}"


class Vault(ConnectorOptions):
    """Knows keys of its own that are secret."""

    nested: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def is_secret_key(cls, key: str) -> bool:
        return key == "combination"


def test_a_models_own_rule_counts_inside_of_its_mappings() -> None:
    """Keys that go to a client may be nested; the plugin knows which of them are secret."""
    options = Vault(nested={"combination": "hunter2", "door": "left"})

    assert shown(options.nested, Vault, "nested") == f"{{combination: {MASK}, door: left}}"
    assert shown(options) == f"{{nested: {{combination: {MASK}, door: left}}}}"
    assert scrub("hunter2 left", {"nested": options.nested}, Vault) == f"{MASK} left"


def test_a_longer_secret_goes_before_its_part() -> None:
    """No rest of a secret stays behind."""
    assert scrub("hunter2hunter2", {"password": "hunter2", "token": "hunter2hunter2"}, None) == MASK
