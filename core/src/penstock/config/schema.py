"""The JSON schema of a configuration, for editors: every key with its type, default and description.

It is made from the models and from the options models of the installed connectors, so that it is always up to date.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from penstock.config.fields import keyed_fields, model_in
from penstock.config.model import EngineSettings, PluginSettings, QueueConfig, WorkerSettings
from penstock.errors import PluginError
from penstock.middleware import Middleware
from penstock.options import environment_fields
from penstock.plugins.registry import Registry
from penstock.specs import ConnectorSpec

Schema = dict[str, Any]

_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
_ATTRIBUTE = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.*)")


class _Generator(GenerateJsonSchema):
    # A default that JSON cannot say is left out, without a warning about it.
    ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})  # type: ignore[assignment]


def configuration_schema(registry: Registry) -> tuple[Schema, list[str]]:
    """The schema of a whole configuration, in any of the forms that a file may have.

    Args:
        registry: Its connectors, profiles, serializers and model handlers are offered as names; others stay allowed,
            since a name may be known where the configuration runs and not here.

    Returns:
        The schema (draft 2020-12), and a sentence for each plugin whose options could not be described.
    """
    definitions: Schema = {}
    problems: list[str] = []
    for key, model in (("engine", EngineSettings), ("worker", WorkerSettings), ("plugins", PluginSettings)):
        definitions[key] = _model_schema(model, key, definitions)
    definitions["engine"]["properties"]["middleware"]["items"] = _middleware_schema(registry, definitions, problems)
    definitions["queue"] = _queue_schema(registry, definitions, problems)
    queue = {"$ref": "#/$defs/queue"}
    queue_list = {"type": "array", "minItems": 1, "items": {"allOf": [queue, {"required": ["name"]}]}}
    queue_mapping = {"type": "object", "minProperties": 1, "additionalProperties": queue}
    whole = {
        "type": "object",
        "required": ["queues"],
        "additionalProperties": False,
        "properties": {
            "queues": {
                "description": "The queues, by name or as a list.",
                **_either("array", queue_list, queue_mapping),
            },
            **{key: {"$ref": f"#/$defs/{key}"} for key in ("engine", "worker", "plugins")},
        },
    }
    # Conditions instead of alternatives: an editor then says what is wrong inside, not just "matches none of three".
    has_sections = {"type": "object", "required": ["queues"]}
    sections_or_queues = {"if": has_sections, "then": whole, "else": queue_mapping}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Penstock configuration",
        **_either("array", queue_list, sections_or_queues),
        "$defs": definitions,
    }, problems


def _middleware_schema(registry: Registry, definitions: Schema, problems: list[str]) -> Schema:
    """One middleware: a name, or a mapping with a name and the options that the installed middleware of it has."""
    conditions: list[Schema] = []
    for name in registry.names("middleware"):
        try:
            spec = registry.middleware(name)
            target = registry.load(spec, spec.target)
        except PluginError as error:
            problems.append(str(error))
            continue
        if isinstance(target, type) and issubclass(target, Middleware):
            key = f"middleware.{name}"
            schema = _model_schema(target, key, definitions)
            schema["properties"] = {"name": {"const": name}, **schema.get("properties", {})}
            definitions[key] = schema
            named = {"type": "object", "required": ["name"], "properties": {"name": {"const": name}}}
            conditions.append({"if": named, "then": {"$ref": f"#/$defs/{key}"}})
    names = {"anyOf": [{"enum": list(registry.names("middleware"))}, {"type": "string", "minLength": 1}]}
    schema = {"anyOf": [names, {"type": "object", "required": ["name"]}]}
    return {**schema, "allOf": conditions} if conditions else schema


def _either(kind: str, then: Schema, otherwise: Schema) -> Schema:
    return {"if": {"type": kind}, "then": then, "else": otherwise}


def _queue_schema(registry: Registry, definitions: Schema, problems: list[str]) -> Schema:
    schema = _model_schema(QueueConfig, "queue", definitions)
    # In a mapping the key is the name.
    schema.pop("required", None)
    properties = schema["properties"]
    connectors = registry.names("connector")
    for key in ("connector", "profile", "serializer", "model_handler"):
        _offer(properties[key], list(registry.names(key)))
    connector_of = {name: registry.profile(name).connector.rpartition(":")[2] for name in registry.names("profile")}
    conditions: list[Schema] = []
    for name in connectors:
        try:
            described = _options_schema(registry, registry.connector(name), definitions)
        except PluginError as error:
            problems.append(str(error))
            continue
        if described:
            profiles = [profile for profile, connector in connector_of.items() if connector == name]
            conditions += [_when("connector", [name], name), *([_when("profile", profiles, name)] if profiles else [])]
    if conditions:
        schema["allOf"] = conditions
    return schema


def _when(key: str, names: list[str], connector: str) -> Schema:
    """The condition that `config` has a connector's options: the queue names it, or its profile, and not a class."""
    overriding = ["consumer", "producer"] + (["connector"] if key == "profile" else [])
    condition = {
        "required": [key],
        "properties": {key: {"enum": names}},
        "not": {"anyOf": [{"required": [other]} for other in overriding]},
    }
    return {"if": condition, "then": {"properties": {"config": {"$ref": f"#/$defs/options.{connector}"}}}}


def _options_schema(registry: Registry, spec: ConnectorSpec, definitions: Schema) -> bool:
    if spec.options is None:
        return False
    model = registry.load(spec, spec.options)
    key = f"options.{spec.name}"
    try:
        schema = _model_schema(model, key, definitions)
    except KeyboardInterrupt:
        raise
    # A connector's model may hold types without a schema; its options then stay undescribed.
    except BaseException as error:
        raise PluginError(f"connector {spec.name!r}: its options have no JSON schema: {error}") from error
    # A profile may give what a queue leaves out, and so may the environment.
    schema.pop("required", None)
    for name, _field, mark in environment_fields(model):
        variables = ", ".join(dict.fromkeys(mark.candidates("input") + mark.candidates("output")))
        described = schema["properties"][name]
        text = described.get("description", "")
        described["description"] = f"{text} Or the environment: {variables}.".strip()
    definitions[key] = schema
    return True


def _model_schema(model: type[BaseModel], key: str, definitions: Schema) -> Schema:
    """A model's schema, with its own definitions moved to ours under a prefix, so that no two models clash."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{key}.{{model}}", schema_generator=_Generator)
    inner_models = {inner.__name__: inner for inner in _inner_models(model)}
    for name, definition in schema.pop("$defs", {}).items():
        if name in inner_models:
            _describe(definition, inner_models[name])
        definitions[f"{key}.{name}"] = _with_variables(definition)
    _describe(schema, model)
    return {name: _in_keyword(name, value) for name, value in schema.items()}


def _inner_models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        inner = model_in(field.annotation)
        if inner is not None and inner is not model:
            yield inner
            yield from _inner_models(inner)


def _describe(schema: Schema, model: type[BaseModel]) -> None:
    """Put the model's docstring into its schema."""
    texts = attribute_texts(model)
    schema.pop("description", None)
    if docstring := _own_docstring(model):
        schema["description"] = docstring.split("\n\n")[0].replace("\n", " ")
    for key, name, _field in keyed_fields(model):
        described = schema.get("properties", {}).get(key, {})
        described.pop("title", None)
        # A docstring for users names the key, one for programmers the attribute.
        if text := texts.get(key) or texts.get(name):
            described.setdefault("description", text)


def attribute_texts(model: type) -> dict[str, str]:
    """What the docstrings of a class and its parents say of each attribute under `Attributes:`, on one line each."""
    texts: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        if parent is not BaseModel:  # whose docstring is about pydantic
            texts |= _attribute_texts(_own_docstring(parent))
    return texts


def _attribute_texts(docstring: str) -> dict[str, str]:
    _, _, section = docstring.partition("Attributes:\n")
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line.strip() and not line.startswith("    "):
            break
        start = _ATTRIBUTE.fullmatch(line[4:])
        if start:
            names = start["names"].split(", ")
            texts |= dict.fromkeys(names, start["text"])
        elif line.strip():
            texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return texts


def _own_docstring(model: type) -> str:
    # Not inspect.getdoc: a model without a docstring would be described as its base is.
    return inspect.cleandoc(vars(model).get("__doc__") or "")


def _offer(schema: Schema, names: list[str]) -> None:
    """Suggest names, and allow any other text."""
    rest = {key: schema.pop(key) for key in ("anyOf", "type", "minLength") if key in schema}
    schema["anyOf"] = [{"enum": names}, *(rest.get("anyOf") or [rest])]


def _with_variables(schema: Any) -> Any:
    """Allow text with `${NAME}` in it for every value that is not plain text."""
    if not isinstance(schema, dict):
        return schema
    schema = {key: _in_keyword(key, value) for key, value in schema.items()}
    if not ("enum" in schema or "const" in schema or schema.get("type") in ("integer", "number", "boolean")):
        return schema
    about = {key: schema.pop(key) for key in ("title", "description", "default", "deprecated") if key in schema}
    return {**about, "anyOf": [schema, _VARIABLE]}


def _in_keyword(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _with_variables(item) for name, item in value.items()}
    if key in ("anyOf", "oneOf", "allOf"):
        return [_with_variables(item) for item in value]
    return _with_variables(value) if key in ("items", "additionalProperties") else value
