"""`${NAME}` in a configuration: filled in on parsed values, so that a value can never change the file's structure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.config.faults import Fault
from penstock.config.places import Path, dotted

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE = re.compile(
    rf"(?P<escape>\$\$\{{)|\$\{{(?P<name>{_NAME})(?P<default>:-(?P<text>[^}}]*))?\}}|(?P<broken>\$\{{)"
)


@dataclass(slots=True)
class Substitution:
    """What became of a value and of everything in it.

    Attributes:
        values: A copy with the variables filled in; what is not set stays as it was written.
        used: Which variables went into which value.
        missing: One fault for each variable that is not set and has no default.
        broken: One fault for each `${` that begins nothing.
    """

    values: Any = None
    used: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    missing: list[Fault] = field(default_factory=list)
    broken: list[Fault] = field(default_factory=list)


def substitute(values: Any, environment: Mapping[str, str], path: Path = (), shown_from: int = 0) -> Substitution:
    """Fill in variables, in values only (never in keys), to any depth.

    - `${NAME}` must be set; `${NAME:-text}` falls back to the text if the variable is not set or empty; `$${` is a
      plain `${`.
    - The result is always text: the typed models turn `"${PORT:-6379}"` into a number.

    Args:
        values: Parsed data: mappings, lists, scalars, any objects. Not changed.
        environment: The variables.
        path: Where `values` stands.
        shown_from: How many steps of a path the faults leave out.
    """
    result = Substitution()
    result.values = _fill(values, environment, path, shown_from, result)
    return result


def unfit_texts(values: Any, path: Path, shown_from: int) -> Iterator[Fault]:
    """One fault for each text that no client library takes; see `unfit`. Arguments as in `substitute`."""
    if isinstance(values, str):
        if (problem := unfit(values)) is not None:
            yield Fault(path, f"{dotted(path[shown_from:])!r} {problem}")
    elif isinstance(values, Mapping):
        for key, item in values.items():
            yield from unfit_texts(item, (*path, key), shown_from)
    elif isinstance(values, list | tuple):
        for index, item in enumerate(values):
            yield from unfit_texts(item, (*path, index), shown_from)


def unfit(text: str) -> str | None:
    """What no client library takes in a text, since it would cut it there or fail; None if there is nothing of it."""
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
        # The text around a reference may hold a secret, so no fault repeats it.
        if match["broken"] or "${" in (match["text"] or ""):
            result.broken.append(
                Fault(
                    path,
                    f"{shown!r} has a '${{' that is no variable; write ${{NAME}} or ${{NAME:-default}}, "
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
            Fault(
                path,
                f"{shown!r} needs the environment variable {name}, which is not set; "
                f"set it, or write a default: ${{{name}:-default}}",
            )
        )
        return match[0]

    return _REFERENCE.sub(replacement, text)
