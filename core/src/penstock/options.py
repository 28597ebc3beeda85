"""The base of every connector's options model, for what stands under a queue's `config:` key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.fields import FieldInfo

from penstock.strict_model import StrictModel

_SECRET_WORDS = ("password", "passphrase", "secret", "token", "credential", "private", "jaas", "sasl.oauth")

Role = Literal["input", "output"]
"""What a queue is opened for. The role decides which variables and which keys count."""


class ConnectorOptions(StrictModel):
    """Derive from this, one typed field a key; a block of keys (`tls: {cert: …}`) derives from it, too.

    - A field whose default comes from the environment carries `FromEnvironment` in its `Annotated` type.
    - A field with a secret is a pydantic `SecretStr`; nothing prints it.
    - A key that is not a Python name (`group.id`) is the field's alias.
    - A connector that passes unknown keys to a client which validates them sets `extra="allow"` and lists, in
      `secret_keys`, which of those are secrets; every other connector rejects an unknown key.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True, defer_build=True
    )

    @classmethod
    def is_secret_key(cls, key: str) -> bool:
        """Whether the value of a passed-through key must never be shown."""
        return any(word in key.lower() for word in _SECRET_WORDS)

    def code(self) -> Mapping[tuple[str, ...], str]:
        """The options that make the client load native code or run a command.

        They are rejected where `plugins.allow_import_paths` is false. A connector that passes options on to its client
        overrides this.

        Returns:
            For each option, by its keys from the top of `config:` (`("producer", "plugin.library.paths")`), what the
            client does with it, as in "loads a library".
        """
        return {}

    def for_tools(self) -> Self:
        """The options with which `penstock dead-letters` connects beside workers.

        A connector whose capability is `groups` gives the tools a group of their own: what they settle in it is gone
        for them, and no worker loses a message or a partition.
        """
        return self


class OptionProblem(str):
    """A problem with one option, as a connector's `check` returns it: a sentence that knows its option.

    A `check` may return plain text instead; then the error shows where `config:` stands, not the option's own line.

    Args:
        text: The sentence.
        *keys: The option's keys from the top of `config:`: `OptionProblem("…", "tls", "cert")`.
        other_role: The option is fine, and belongs to the queue's other role. A tool that uses the queue beside its
            engine, such as `--feed`, passes over the problem.
    """

    keys: tuple[str, ...]
    other_role: bool

    def __new__(cls, text: str, *keys: str, other_role: bool = False) -> OptionProblem:
        problem = super().__new__(cls, text)
        problem.keys = keys
        problem.other_role = other_role
        return problem


def not_text(key: str, value: Any) -> str | None:
    """What is wrong with a value that a connector passes to its client as text, without a typed field.

    YAML reads `0123456` as the number 42798, `12:30` as 750, `on` as true and `2024-05-17` as a date. Converted back to
    text, these would differ from what was written.

    Args:
        key: The option's name.
        value: What was written; a `SecretStr` is text.
    """
    if isinstance(value, str | SecretStr):
        return None
    kinds = {bool: "true or false", int: "a number", float: "a number", type(None): "nothing (null)"}
    kind = kinds.get(type(value)) or f"a {type(value).__name__}"
    return f"{key!r} must be text, not {kind}; put it in quotes"


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """Marks an options field that an environment variable fills when the config does not.

    Args:
        *names: Variables, the first that is set wins.
        input, output: More specific variables that are tried first when the queue is opened for that role.
    """

    names: tuple[str, ...]
    input: tuple[str, ...]
    output: tuple[str, ...]

    def __init__(self, *names: str, input: tuple[str, ...] = (), output: tuple[str, ...] = ()) -> None:  # noqa: A002
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "input", input)
        object.__setattr__(self, "output", output)

    def candidates(self, role: Role) -> tuple[str, ...]:
        """Every variable that may fill the field for `role`, the strongest first."""
        return (self.input if role == "input" else self.output) + self.names


def environment_fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, FromEnvironment]]:
    """The fields of an options model that the environment may fill: key as written in a config, field, mark."""
    for name, field in model.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, FromEnvironment):
                yield field.alias or name, field, mark


def fill_from_environment(
    model: type[BaseModel], values: Mapping[str, Any], role: Role, environment: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Add what the environment says to the options that the config did not set.

    Args:
        model: The connector's options model.
        values: The queue's `config:` mapping; not changed. Its keys win over the environment.
        role: What the queue is opened for.
        environment: The variables, usually `os.environ`. An empty variable counts as not set.

    Returns:
        The values to validate, and for each key that was added the variable it came from.
    """
    filled = dict(values)
    origins: dict[str, str] = {}
    names = {field.alias: name for name, field in model.model_fields.items() if field.alias}
    for key, _field, mark in environment_fields(model):
        if key in filled or names.get(key) in filled:
            continue
        for variable in mark.candidates(role):
            if environment.get(variable):
                filled[key] = environment[variable]
                origins[key] = variable
                break
    return filled, origins
