"""Turns what pydantic rejects into problems that name the key and the fix, and never show the value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from penstock.config.fields import field_of, keyed_fields, model_in
from penstock.config.locations import Path, dotted
from penstock.config.masking import scrub
from penstock.config.names import instead
from penstock.config.problems import Problem
from penstock.options import FromEnvironment, Role


@dataclass(frozen=True, slots=True)
class _Finding:
    """One error of pydantic in parts, so that the errors of a union's members can be joined.

    Attributes:
        wanted: Completes "must be …"; empty if the error is of another form.
        given: Completes "must be …, not …"; may be empty.
        predicate: The other form that continues a sentence after the key ("is missing").
        sentence: A sentence by itself: the words of a validator.
    """

    wanted: str = ""
    given: str = ""
    predicate: str = ""
    sentence: str = ""

    @property
    def text(self) -> str:
        must_be = f"must be {self.wanted}" + (f", not {self.given}" if self.given else "") if self.wanted else ""
        return must_be or self.predicate or self.sentence


def explain(
    error: ValidationError,
    model: type[BaseModel],
    values: Mapping[str, Any],
    owner: str,
    prefix: Path = (),
    role: Role | None = None,
) -> list[Problem]:
    """Turn a validation error into problems, one a key.

    Args:
        error: What pydantic raised for `values`.
        model: The model that rejected them.
        values: What was validated. The problems name types, never a value.
        owner: Completes "… is not a key of": "a queue", "connector 'rsmq'".
        prefix: The path of `values` itself; its steps are part of a key's shown name.
        role: The role of the queue, where that decides which environment variable fills a missing key.
    """
    by_path: dict[Path, list[_Finding]] = {}
    details = error.errors(include_url=False)
    if all(not detail["loc"] for detail in details) and model.model_config.get("extra") == "forbid":
        details += _unknown_keys(model, values)  # a validator of the whole came first, and hid them
    for detail in details:
        path = _as_written(detail, values)
        by_path.setdefault(path, []).append(_finding(detail, path, model, owner, role))
    problems = []
    for path, findings in by_path.items():
        if path and any(len(other) > len(path) and other[: len(path)] == path for other in by_path):
            # For a union of a scalar and a mapping that was given a mapping, only the errors inside it help.
            continue
        key = dotted(prefix + path)
        finding = _joined(findings)
        separator = ": " if finding.sentence or not path else " "
        text = f"{key!r}{separator}{finding.text}" if key else finding.text
        problems.append(Problem(prefix + path, scrub(text, values, model)))
    return problems


def _unknown_keys(model: type[BaseModel], values: Mapping[str, Any]) -> list[ErrorDetails]:
    known = {name for key, field, _info in keyed_fields(model) for name in (key, field)}
    kind = {"type": "extra_forbidden", "msg": "", "input": None}
    return [ErrorDetails(loc=(key,), **kind) for key in values if key not in known]  # type: ignore[typeddict-item]


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


def _finding(detail: ErrorDetails, path: Path, model: type[BaseModel], owner: str, role: Role | None) -> _Finding:
    kind, context, message = detail["type"], detail.get("ctx", {}), detail["msg"]
    if kind == "extra_forbidden":
        known = _keys(_model_at(model, path[:-1]))
        inside = f"{dotted(path[:-1])!r} of {owner}" if len(path) > 1 else owner
        return _Finding(predicate=f"is not a key of {inside}; {instead(str(path[-1]), known, 'its keys are')}")
    if kind == "missing":
        return _Finding(predicate="is missing; write it" + _or_set(_model_at(model, path[:-1]), path, role))
    if kind in ("value_error", "assertion_error"):
        return _Finding(sentence=str(context.get("error", message)))
    if kind in _WANTED:
        quotes = (
            " (put it in quotes if it is text)" if kind == "string_type" and _looks_like_text(detail["input"]) else ""
        )
        return _Finding(wanted=_WANTED[kind], given=_given(detail["input"]) + quotes)
    if kind in _LIMITS:
        return _Finding(wanted=_LIMITS[kind].format(**context))
    expected = message.removeprefix("Input should be ")
    return _Finding(sentence=message) if expected == message else _Finding(wanted=expected)


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
    "rate": "a number of messages a second, or text like 10/s, 600/m or 1000/h",
    "byte_size_unit": "a number of bytes, or text like 64MiB",
}


def _looks_like_text(value: Any) -> bool:
    """Whether YAML or TOML may have read text without quotes as this value."""
    return isinstance(value, bool | int | float | date)


def _given(value: Any) -> str:
    """The kind of value that was written; the value itself may be a secret."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


def _text(value: str) -> str:
    if _WITH_UNIT.fullmatch(value.strip()):
        return "a number with a unit; write the number alone"
    return "this text" if value else "empty text"


_WITH_UNIT = re.compile(r"[0-9._]+\s*[A-Za-zµ]+")


def _joined(findings: Sequence[_Finding]) -> _Finding:
    """One finding for the members of a union, each of which said what it wants."""
    unique = list(dict.fromkeys(findings))
    if len(unique) == 1:
        return unique[0]
    if all(finding.wanted for finding in unique):
        return _Finding(" or ".join(dict.fromkeys(finding.wanted for finding in unique)), unique[-1].given)
    texts = "; ".join(finding.text for finding in unique)
    return _Finding(sentence=texts) if unique[0].sentence else _Finding(predicate=texts)


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [key for key, _name, _field in keyed_fields(model)] if model else []


def _model_at(model: type[BaseModel] | None, path: Path) -> type[BaseModel] | None:
    for step in path:
        field = field_of(model, str(step))
        model = model_in(field.annotation) if field else None
    return model
