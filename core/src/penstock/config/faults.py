"""What pydantic found wrong, as sentences that name the key, the fix, and never the value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from penstock.config.fields import field_of, keyed_fields, model_in
from penstock.config.masking import scrub
from penstock.config.names import instead
from penstock.config.places import Path, Places, dotted
from penstock.options import FromEnvironment, Role


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the path of the value, and a sentence that begins with the key's name."""

    path: Path
    text: str


def placed(faults: Iterable[Fault], subject: str, places: Places) -> list[str]:
    """Whole sentences, from top to bottom: whose setting it is, where it stands, what is wrong with it."""
    found = sorted(((places.of(fault.path), fault.text) for fault in faults), key=lambda pair: pair[0].order)
    return [f"{subject}{in_brackets(place.exact)}: {text}" for place, text in found]


def in_brackets(place: str) -> str:
    """A place as it stands behind a name; nothing, if there is none."""
    return f" ({place})" if place else ""


def explain(
    error: ValidationError,
    model: type[BaseModel],
    values: Mapping[str, Any],
    owner: str,
    prefix: Path = (),
    role: Role | None = None,
) -> list[Fault]:
    """Turn a validation error into faults, one a key.

    Args:
        error: What pydantic raised for `values`.
        model: The model that refused them.
        values: What was validated. Only types are told of it, never a value.
        owner: Completes "… is not a key of": "a queue", "connector 'rsmq'".
        prefix: The path of `values` itself; its steps are part of a key's shown name.
        role: What the queue is opened for, where that decides which environment variable fills a missing key.
    """
    texts: dict[Path, list[str]] = {}
    for detail in error.errors(include_url=False):
        path = _as_written(detail, values)
        texts.setdefault(path, []).append(scrub(_what(detail, path, model, owner, role), values, model))
    faults = []
    for path, said in texts.items():
        if any(len(other) > len(path) and other[: len(path)] == path for other in texts):
            # A union of a scalar and a mapping, given a mapping: what is wrong inside of it is the news.
            continue
        key = dotted(prefix + path)
        text = _one_of(said)
        # A plugin's own words are a sentence by themselves.
        goes_on = bool(path) and text.startswith(("must ", "is "))
        faults.append(Fault(prefix + path, f"{key!r}{' ' if goes_on else ': '}{text}" if key else text))
    return faults


def _as_written(detail: ErrorDetails, values: Mapping[str, Any]) -> Path:
    """The location without the tags that pydantic adds for the members of a union."""
    path: Path = ()
    current: Any = values
    last = len(detail["loc"]) - 1
    for position, step in enumerate(detail["loc"]):
        if isinstance(current, Mapping):
            if step in current:
                current = current[step]
            elif position == last and detail["type"] == "missing":
                current = None
            else:
                continue
        elif isinstance(current, Sequence) and not isinstance(current, str) and isinstance(step, int):
            current = current[step] if step < len(current) else None
        else:
            continue
        path = (*path, step)
    return path


def _what(detail: ErrorDetails, path: Path, model: type[BaseModel], owner: str, role: Role | None) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys(_model_at(model, path[:-1]))
        inside = f"{dotted(path[:-1])!r} of {owner}" if len(path) > 1 else owner
        return f"is not a key of {inside}; {instead(str(path[-1]), known, 'its keys are')}"
    if kind == "missing":
        return "is missing; write it" + _or_set(_model_at(model, path[:-1]), path, role)
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", detail["msg"]))
    if kind in _WANTED:
        quotes = (
            " (put it in quotes if it is text)" if kind == "string_type" and _looks_like_text(detail["input"]) else ""
        )
        return f"must be {_WANTED[kind]}, not {_given(detail['input'])}{quotes}"
    if kind in _LIMITS:
        return f"must be {_LIMITS[kind].format(**context)}"
    return detail["msg"].replace("Input should be", "must be")


def _or_set(model: type[BaseModel] | None, path: Path, role: Role | None) -> str:
    field = field_of(model, str(path[-1])) if role and len(path) == 1 else None
    for mark in field.metadata if field else ():
        if isinstance(mark, FromEnvironment) and role:
            return f" or set the environment variable {' or '.join(mark.candidates(role))}"
    return ""


_WANTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "is_type": "a class",
    "type_type": "a class",
}
_LIMITS = {
    "literal_error": "{expected}",
    "enum": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "too_short": "at least {min_length} entries long",
    "too_long": "at most {max_length} entries long",
    "byte_size": "a number of bytes, or text like 64MiB",
    "byte_size_unit": "a number of bytes, or text like 64MiB",
}


def _looks_like_text(value: Any) -> bool:
    """Whether YAML or TOML made something else of it only for want of quotes."""
    return isinstance(value, bool | int | float | date)


def _given(value: Any) -> str:
    """What kind of thing was written: its type is no secret, its value may be one."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "this text" if value else "empty text"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


def _one_of(said: list[str]) -> str:
    """The members of a union each say what they want; the reader wants one sentence."""
    unique = list(dict.fromkeys(said))
    wanted = [text.removeprefix("must be ").split(", not ")[0] for text in unique if text.startswith("must be ")]
    if len(unique) == 1 or len(wanted) != len(unique):
        return "; ".join(unique)
    end = unique[-1].partition(", not ")[2]
    return f"must be {' or '.join(dict.fromkeys(wanted))}" + (f", not {end}" if end else "")


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [key for key, _name, _field in keyed_fields(model)] if model else []


def _model_at(model: type[BaseModel] | None, path: Path) -> type[BaseModel] | None:
    for step in path:
        field = field_of(model, str(step))
        model = model_in(field.annotation) if field else None
    return model
