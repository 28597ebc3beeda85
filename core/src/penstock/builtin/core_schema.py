"""Reads from a pydantic core schema which values a model may have, so that a check runs only where it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Secret, SecretBytes, SecretStr
from pydantic_core import SchemaValidator

Node = dict[str, Any]

SECRETS = (SecretStr, SecretBytes, Secret)

# Nodes whose JSON may hold a float without a `float` node: any value, and the results of functions.
_FLOATS = frozenset({"float", "enum", "complex", "any", "is-instance", "function-plain", "function-wrap"})
# A default value or the user's metadata may look like a node.
_NOT_NODES = frozenset({"default", "metadata", "expected", "members"})


def may_hold_bytes(schema: Any) -> bool:
    """Whether a value may have bytes in it, which JSON cannot hold."""
    return is_open(schema) or has(schema, "bytes")


def may_write_floats(schema: Any) -> bool:
    """Whether the JSON of a value may have floats in it, or a null instead of NaN."""
    return any(node.get("type") in _FLOATS or _takes_extras(node) for node in _nodes(schema))


def may_hold_secrets(schema: Any) -> bool:
    """Whether a value may hold a secret type such as `SecretStr`, which pydantic writes as asterisks."""
    return is_open(schema) or names_secrets(schema)


def names_secrets(schema: Any) -> bool:
    """Whether a field has a secret type such as `SecretStr`."""
    return any(_is_secret(part) for node in _nodes(schema) for part in node.values())


def is_open(schema: Any) -> bool:
    """Whether a value may hold objects of any type."""
    return any(node.get("type") == "any" or _takes_extras(node) for node in _nodes(schema))


def has(schema: Any, kind: str) -> bool:
    """Whether there is a node of this type."""
    return any(node.get("type") == kind for node in _nodes(schema))


def calls_functions(schema: Any) -> bool:
    """Whether functions of the user decide what is written: serializers or computed fields."""
    return any("serialization" in node or node.get("computed_fields") for node in _nodes(schema))


def class_of_pydantic_v1(schema: Any) -> str | None:
    """The name of a pydantic 1 class in a schema: pydantic 2 builds such a schema, but cannot use it."""
    for node in _nodes(schema):
        function = node.get("function")
        owner = getattr(function, "__self__", None)
        if owner is not None and str(getattr(function, "__module__", "")).startswith("pydantic.v1"):
            return str(getattr(owner, "__name__", owner))
    return None


def rewritten(schema: Any, rewrite: Callable[[Node], Node]) -> Any:
    """A copy of a schema in which `rewrite` has replaced each node, the inner ones first."""
    if isinstance(schema, list):
        return [rewritten(part, rewrite) for part in schema]
    if isinstance(schema, tuple):
        return tuple(rewritten(part, rewrite) for part in schema)
    if not isinstance(schema, dict):
        return schema
    return rewrite({key: part if key in _NOT_NODES else rewritten(part, rewrite) for key, part in schema.items()})


def validator(schema: Any) -> SchemaValidator:
    """A validator whose errors hide the input, because errors are logged."""
    return SchemaValidator(schema, {"hide_input_in_errors": True})


def validator_of_rewritten(schema: Any) -> SchemaValidator:
    """A validator of a rewritten schema, which also uses the rewritten parts inside of its models."""
    try:
        # Otherwise a nested model's own validator, without the changes, would be used for its part.
        return SchemaValidator(schema, {"hide_input_in_errors": True}, _use_prebuilt=False)
    except TypeError:  # an older pydantic, without this argument
        return validator(schema)


def is_rewritten(built: SchemaValidator) -> bool:
    """Whether a rewritten schema is used whole; some releases of pydantic always use nested models' own validators."""
    return "Prebuilt" not in repr(built)


def _nodes(schema: Any) -> Iterator[Node]:
    if isinstance(schema, dict):
        yield schema
        for key, part in schema.items():
            if key not in _NOT_NODES:
                yield from _nodes(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from _nodes(part)


def _takes_extras(node: Node) -> bool:
    return "allow" in (node.get("extra_behavior"), node.get("extra_fields_behavior"))


def _is_secret(part: Any) -> bool:
    if isinstance(part, type):
        return issubclass(part, SECRETS)
    # `Secret[...]` appears only as the functions that wrap and unwrap it.
    return getattr(part, "__module__", None) == "pydantic.types" and "Secret" in getattr(part, "__qualname__", "")
