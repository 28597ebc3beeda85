"""Decides what must never be printed, and how other values are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr

from penstock.config.fields import field_of, holds, keyed_fields
from penstock.known_secrets import MASK, replaced, without_credentials
from penstock.options import ConnectorOptions

_SECRET_WORDS = ("passwd", "passphrase", "pwd", "apikey", "api_key", "api-key", "access_key", "key.pem")
"""For keys that no options model knows, beside the words of `ConnectorOptions.is_secret_key`."""
_NEAR = ("password", "passphrase", "passwd", "secret", "token", "credential", "private")
_PARTS = re.compile(r"[^a-z]+")


def is_secret(model: type[BaseModel] | None, key: str) -> bool:
    """Whether the value of `key` must never be shown."""
    field = field_of(model, key)
    if field is not None and holds(field.annotation, (SecretStr, SecretBytes)):
        return True
    is_secret_key = (
        model.is_secret_key
        if model is not None and issubclass(model, ConnectorOptions)
        else ConnectorOptions.is_secret_key
    )
    if field is not None:
        # A declared number or switch is not a secret, whatever its name.
        number = holds(field.annotation, (int, float)) and not holds(field.annotation, (str, bytes))
        return is_secret_key(key) and not number
    return is_secret_key(key) or any(word in key.lower() for word in _SECRET_WORDS) or _is_nearly_secret(key)


def _is_nearly_secret(key: str) -> bool:
    """Whether a part of an unknown key is probably a misspelt "password" or the like."""
    return any(get_close_matches(part, _NEAR, n=1, cutoff=0.75) for part in _PARTS.split(key.lower()) if len(part) > 3)


def mask_text(text: str) -> str:
    """A text without the credentials that URLs, connection strings and PEM blocks carry."""
    return without_credentials(text)


def shown(value: Any, model: type[BaseModel] | None = None, key: str = "") -> str:
    """A value as it may be printed.

    Args:
        value: Anything that can stand in a configuration.
        model: The model that has the value under `key`, if there is one.
        key: The key, which may make it a secret.
    """
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, SecretStr | SecretBytes) or (key and is_secret(model, key)):
        return MASK
    if isinstance(value, BaseModel):
        model = type(value)
        value = {key: getattr(value, name) for key, name, _field in keyed_fields(model)}
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {shown(item, model, str(name))}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if get_origin(value) is None and (isinstance(value, type) or callable(value)):
        return f"{getattr(value, '__module__', '?')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    text = mask_text(str(value))
    # One line, without characters that control a terminal.
    return text if text.isprintable() else repr(text)[1:-1]


def scrub(text: str, values: Mapping[str, Any], model: type[BaseModel] | None) -> str:
    """A text from elsewhere without the secrets that stand in `values`."""
    return mask_text(replaced(text, secrets_in(values, model)))


def secrets_in(values: Mapping[str, Any], model: type[BaseModel] | None) -> Iterator[str]:
    """Every secret that stands in options, at any depth."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from secrets_in(value, model)
        elif isinstance(value, bool) or value is None:
            continue
        elif is_secret(model, str(key)):
            text = value.get_secret_value() if isinstance(value, SecretStr | SecretBytes) else value
            if text := text.decode(errors="replace") if isinstance(text, bytes) else str(text):
                yield text
