"""Configuration: every mistake is found before anything is opened, and no secret is ever shown."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import pydantic
from pydantic.fields import FieldInfo

from penstock.errors import ConfigError, PenstockError
from penstock.installed import options_model
from penstock.options import ConnectorOptions, Role
from penstock_kit.alone import run_alone
from penstock_kit.bare import Bare
from penstock_kit.broken import Broken, must
from penstock_kit.kit import Kit
from penstock_kit.limits import within

STRANGE_KEY = "surely_no_option_of_anything"
SECRET = "k1t-s3cret-never-shown"  # noqa: S105  (it is the bait)

JUDGE = """
import json, sys
from penstock.standalone import resolve
done = []
watched = ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.fork")
sys.addaudithook(lambda event, arguments: done.append(event) if event in watched else None)
settings, roles = json.loads(sys.argv[1])
for role in roles:
    resolve(settings, role)
json.dump(done, sys.stdout)
"""


class Configuration:
    """The options under `config:`."""

    def test_an_unknown_option_is_refused_by_name(self, kit: Kit) -> None:
        """Before anything is connected, and the error names the key."""
        strange: dict[str, Any] = {STRANGE_KEY: 1}
        settings = kit.config(**strange)
        for role in kit.roles:
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

    def test_a_missing_option_is_refused_by_name(self, kit: Kit) -> None:
        """Before anything is connected, and the error names the key."""
        model = options_model(kit.spec)
        required = [(name, field.alias or name) for name, field in _fields(model) if field.is_required()]
        if not required:
            kit.not_promised("no option of this connector must be given")
        settings = kit.config()
        for name, key in required:
            others = {each: value for each, value in settings.get("config", {}).items() if each not in (name, key)}
            for role in kit.roles:
                try:
                    kit.resolve(role, {**settings, "config": others}, environment={})
                except ConfigError as error:
                    must(
                        key in str(error) or name in str(error),
                        f"a missing option is refused by its name; the error does not name {key!r}: {error}",
                        "validators of the options model that run before the fields are looked at",
                    )
                else:
                    raise Broken(
                        f"the option {key!r} must be given, says the model; without it the queue was accepted\n"
                        "    look at: the options model, and what fills in its values"
                    )

    def test_a_configuration_is_judged_without_a_backend(self, kit: Kit) -> None:
        """`penstock check` and the start of a worker check options in the same way, and connect nowhere for it."""
        done = run_alone(
            JUDGE,
            [kit.config(), kit.roles],
            "a configuration is judged",
            "the options model and the `check` of the ConnectorSpec, and what their modules import",
        )
        must(
            not done,
            f"a configuration is checked without a backend; this check did {sorted(set(done))}",
            "the `check` of the ConnectorSpec, and validators of the options model: they check values, not servers",
        )

    def test_the_options_are_typed_and_described(self, kit: Kit) -> None:
        """They have a model with a JSON schema, for editors, that includes the backend fixture's options."""
        model = options_model(kit.spec)
        must(
            model is not None and issubclass(model, ConnectorOptions),
            "a connector's options are a model derived from penstock.options.ConnectorOptions",
            "`options` of the ConnectorSpec",
        )
        if model is None:
            return
        try:
            schema = model.model_json_schema()
        # pydantic or the type itself may raise anything.
        except Exception as error:
            raise Broken(
                f"the options have a JSON schema, for editors and `penstock schema`; there is none: {error}\n"
                "    look at: fields whose type has no schema; use a plain type, or WithJsonSchema"
            ) from error
        names = {each for name, field in _fields(model) for each in (name, field.alias or name)}
        unknown = [key for key in kit.config().get("config", {}) if key not in names]
        must(
            schema.get("type") == "object" and not (unknown and schema.get("additionalProperties") is False),
            f"the schema is an object's and knows every option; it lacks {unknown}, which the backend fixture uses",
            "the options model: fields and their aliases",
        )

    def test_no_secret_is_ever_shown(self, kit: Kit) -> None:
        """Not in a repr, not in an error about options, and not in an error of the connection."""
        model = options_model(kit.spec)

        async def main() -> None:
            for key in secret_keys(model) if model is not None else ():
                await _look_for(kit, {key: SECRET})
                await _look_for(kit, {key: [SECRET]})  # nor if the value has the wrong type
                await _look_for(kit, {key: SECRET, STRANGE_KEY: SECRET})

        kit.run(main)

    def test_what_sounds_secret_is_a_secret(self, kit: Kit) -> None:
        """An option with a name like a secret's has a type that hides its value."""
        model = options_model(kit.spec)
        hidden = set(secret_keys(model)) if model is not None else set()
        for name, field in _fields(model):
            key = field.alias or name
            text = _mentions(field.annotation, str)
            must(
                not text or key in hidden or not ConnectorOptions.is_secret_key(key),
                f"the option {key!r} sounds like a secret, and is plain text that a repr shows",
                "its type: pydantic.SecretStr",
            )


async def _look_for(kit: Kit, options: dict[str, Any]) -> None:
    """Open a queue with a secret among its options, and check every text that comes of it."""
    for role in kit.roles:
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
            async with within(
                kit.timeout + 5,
                f"connect ends, refused or not; with a wrong {next(iter(options))!r} it had not after "
                f"{kit.timeout + 5:g} s",
                "connect, when the backend refuses credentials: FatalConnectorError, or NotConnected",
            ):
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


def _fields(model: type[pydantic.BaseModel] | None) -> list[tuple[str, FieldInfo]]:
    return list(model.model_fields.items()) if model is not None else []


def secret_keys(model: type[pydantic.BaseModel]) -> Iterator[str]:
    """The keys of options with a secret type."""
    for name, field in model.model_fields.items():
        if _mentions(field.annotation, pydantic.SecretStr) or _mentions(field.annotation, pydantic.SecretBytes):
            yield field.alias or name


def _mentions(annotation: Any, wanted: type) -> bool:
    return annotation is wanted or any(_mentions(part, wanted) for part in typing.get_args(annotation))
