"""What a configuration may say: every mistake is found before anything is opened, and no secret is ever shown."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pydantic

from penstock.errors import ConfigError, PenstockError
from penstock.options import ConnectorOptions, Role
from penstock.plugins.registry import Registry
from penstock.testing.conformance.bare import Bare
from penstock.testing.conformance.kit import ROLES, Kit
from penstock.testing.conformance.limits import within
from penstock.testing.conformance.promises import Broken, must

STRANGE_KEY = "surely_no_option_of_anything"
SECRET = "k1t-s3cret-nobody-may-see"  # noqa: S105  (it is the bait)


class Configuration:
    """Options, from `config:` to the connector."""

    def test_an_unknown_option_is_refused_by_name(self, kit: Kit) -> None:
        """Before anything is connected, with the key in the sentence."""
        strange: dict[str, Any] = {STRANGE_KEY: 1}
        settings = kit.config(**strange)
        for role in ROLES:
            try:
                kit.resolve(role, settings)
            except ConfigError as error:
                must(
                    STRANGE_KEY in str(error),
                    f"an unknown option is refused by its name; the error does not name it: {error}",
                    "the options model, or the `check` of the ConnectorSpec",
                )
            else:
                raise Broken(
                    f"an unknown option is refused before anything is opened; {STRANGE_KEY!r} was accepted\n"
                    "    look at: the options model (extra='forbid'); one that passes keys on judges them "
                    "in the `check` of the ConnectorSpec"
                )

    def test_the_options_are_typed_and_described(self, kit: Kit) -> None:
        """They have a model, whose schema can be printed for editors."""
        model = options_model(kit)
        must(
            model is not None and issubclass(model, ConnectorOptions),
            "a connector's options are a model derived from penstock.options.ConnectorOptions",
            "`options` of the ConnectorSpec",
        )
        if model is not None:
            must(
                model.model_json_schema().get("type") == "object", "the options have a JSON schema", "the options model"
            )

    def test_no_secret_is_ever_shown(self, kit: Kit) -> None:
        """Not in a repr of options or connectors, not in an error about them, not in an error of the connection."""
        model = options_model(kit)

        async def main() -> None:
            for key in secret_keys(model) if model is not None else ():
                await _look_for(kit, {key: SECRET})
                await _look_for(kit, {key: [SECRET]})  # a value of the wrong type must not be quoted either
                await _look_for(kit, {key: SECRET, STRANGE_KEY: SECRET})

        kit.run(main)

    def test_what_sounds_secret_is_a_secret(self, kit: Kit) -> None:
        """An option whose name says that it is one has the type that hides it."""
        model = options_model(kit)
        hidden = set(secret_keys(model)) if model is not None else set()
        for name, field in (model.model_fields if model is not None else {}).items():
            key = field.alias or name
            text = _mentions(field.annotation, str)
            must(
                not text or key in hidden or not ConnectorOptions.is_secret_key(key),
                f"the option {key!r} sounds like a secret, and is plain text that a repr shows",
                "its type: pydantic.SecretStr",
            )


async def _look_for(kit: Kit, options: dict[str, Any]) -> None:
    """Open a queue with a secret among its options, and look at everything that is said."""
    for role in ROLES:
        said: list[str] = []
        settings = kit.config()
        settings["config"] = {**settings.get("config", {}), **options}
        try:
            resolved = kit.resolve(role, settings)
            connector = resolved.connector_class(resolved.value, resolved.options)
            said += [
                repr(resolved),
                repr(resolved.options),
                str(resolved.options),
                repr(connector),
            ]
            async with within(kit.patience + 5, "connect ends, refused or not", "connect with credentials"):
                said.append(await _connect(kit, role, settings))
        except (PenstockError, ValueError) as error:
            said += [*_chain(error)]
        must(
            not any(SECRET in text for text in said),
            f"a secret is never shown; with the option {next(iter(options))!r} set to one, it stands in "
            + next((text[:200].replace(SECRET, "THE SECRET") for text in said if SECRET in text), ""),
            "the type of the option (pydantic.SecretStr), texts of errors",
        )


async def _connect(kit: Kit, role: Role, settings: dict[str, Any]) -> str:
    connector = Bare(kit, role, settings)
    try:
        await connector.call("connect")
    except PenstockError as error:
        return " ".join(_chain(error))
    finally:
        await connector.call("shutdown")
        connector.close()
    return ""


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error!r} {error}"
        error = error.__cause__


def options_model(kit: Kit) -> type[pydantic.BaseModel] | None:
    """The options model of the connector."""
    if kit.spec.options is None:
        return None
    model: type[pydantic.BaseModel] = Registry().load(kit.spec, kit.spec.options)
    return model


def secret_keys(model: type[pydantic.BaseModel]) -> Iterator[str]:
    """The options with a secret type, as a configuration writes them."""
    for name, field in model.model_fields.items():
        if _mentions(field.annotation, pydantic.SecretStr) or _mentions(field.annotation, pydantic.SecretBytes):
            yield field.alias or name


def _mentions(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_mentions(part, wanted) for part in typing.get_args(annotation))
