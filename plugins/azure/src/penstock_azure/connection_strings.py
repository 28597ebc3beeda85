"""Reads what Azure calls a connection string: `Name=value;Name=value`. It holds a key, so no error here shows it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping


def parts_of(text: str) -> Mapping[str, str]:
    """The values by name, in lower case.

    Raises:
        ValueError: a part has no name, or no value.
    """
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    if not pairs or not all(name.strip() and value for name, _equals, value in pairs):
        raise ValueError("this is not a connection string, `Name=value;Name=value;…`; copy it from the Azure portal")
    return {name.strip().lower(): value.strip() for name, _equals, value in pairs}


def require(parts: Mapping[str, str], *names: str) -> None:
    """Raise a `ValueError` that says which of these names the connection string lacks."""
    if lacking := [name for name in names if name.lower() not in parts]:
        raise ValueError(f"the connection string has no {' and no '.join(lacking)}; copy it from the Azure portal")


def require_key(parts: Mapping[str, str], name: str) -> None:
    """Raise a `ValueError` if the value of this name is not in Base64, as every key of Azure is."""
    try:
        b64decode(parts[name.lower()], validate=True)
    except ValueError:
        raise ValueError(f"{name} of the connection string is not a key in Base64; copy it whole") from None
