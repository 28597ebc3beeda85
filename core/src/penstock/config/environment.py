"""Fills in `${NAME}` on parsed values, so that a variable can never change the structure of a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.config.locations import Path, dotted
from penstock.config.problems import Problem

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(
    rf"(?P<escape>\$\$\{{)|\$\{{(?P<name>{_NAME})(?P<default>:-(?P<text>[^}}]*))?\}}|(?P<broken>\$\{{)"
)


@dataclass(slots=True)
class Substitution:
    """A value with its variables filled in, at any depth.

    Attributes:
        values: A copy; a variable that is not set stays as it was written.
        used: Which variables went into which value.
        missing: One problem for each variable that is not set and has no default.
        broken: One problem for each `${` that does not begin a variable.
    """

    values: Any = None
    used: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    missing: list[Problem] = field(default_factory=list)
    broken: list[Problem] = field(default_factory=list)


def substitute(values: Any, environment: Mapping[str, str], path: Path = (), shown_from: int = 0) -> Substitution:
    """Fill in variables, in values only (never in keys), to any depth.

    - `${NAME}` must be set; `${NAME:-text}` falls back to the text if the variable is not set or empty; `$${` is a
      plain `${`.
    - The result is always text: the typed models turn `"${PORT:-6379}"` into a number.

    Args:
        values: Parsed data: mappings, lists, scalars, any objects. Not changed.
        environment: The variables.
        path: Where `values` stands.
        shown_from: How many steps of a path the problems leave out.
    """
    result = Substitution()
    result.values = _fill(values, environment, path, shown_from, result)
    return result


def unusable_texts(values: Any, path: Path, shown_from: int) -> Iterator[Problem]:
    """One problem for each text that no client library accepts; see `unusable`. Arguments as in `substitute`."""
    if isinstance(values, str):
        if (defect := unusable(values)) is not None:
            yield Problem(path, f"{dotted(path[shown_from:])!r} {defect}")
    elif isinstance(values, Mapping):
        for key, item in values.items():
            yield from unusable_texts(item, (*path, key), shown_from)
    elif isinstance(values, list | tuple):
        for index, item in enumerate(values):
            yield from unusable_texts(item, (*path, index), shown_from)


def unusable(text: str) -> str | None:
    """Why no client library accepts a text: it would cut it there, or fail. None if there is no such reason."""
    if "\0" in text:
        return f"has a NUL character at position {text.index(chr(0)) + 1}; remove it"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"has half of a surrogate pair at position {error.start + 1}, which is not a character; remove it"
    return None


def _fill(value: Any, environment: Mapping[str, str], path: Path, shown_from: int, result: Substitution) -> Any:
    if isinstance(value, str):
        return _fill_text(value, environment, path, shown_from, result) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: _fill(item, environment, (*path, key), shown_from, result) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fill(item, environment, (*path, index), shown_from, result) for index, item in enumerate(value)]
    return value


def _fill_text(text: str, environment: Mapping[str, str], path: Path, shown_from: int, result: Substitution) -> str:
    shown = dotted(path[shown_from:])

    def replacement(match: re.Match[str]) -> str:
        if match["escape"]:
            return "${"
        name = match["name"]
        # The text around a reference may hold a secret, so the problem does not repeat it.
        if match["broken"] or "${" in (match["text"] or ""):
            result.broken.append(
                Problem(
                    path,
                    f"{shown!r} has a '${{' that is not a variable; write ${{NAME}} or ${{NAME:-default}}, "
                    "or '$${' for a plain '${'",
                )
            )
            return match[0]
        value = environment.get(name)
        if value or (value is not None and match["default"] is None):
            result.used[path] = (*result.used.get(path, ()), name)
            return value
        if match["default"] is not None:
            return str(match["text"])
        result.missing.append(
            Problem(
                path,
                f"{shown!r} needs the environment variable {name}, which is not set; "
                f"set it, or write a default: ${{{name}:-default}}",
            )
        )
        return match[0]

    return _REFERENCE.sub(replacement, text)
