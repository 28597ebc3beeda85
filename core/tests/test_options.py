"""What stands under `config:` meets the environment."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import ConfigDict, Field, SecretStr, ValidationError

from penstock.options import ConnectorOptions, FromEnvironment, environment_fields, fill_from_environment


class Options(ConnectorOptions):
    host: Annotated[str, FromEnvironment("ACME_HOST", "HOST")] = "localhost"
    port: Annotated[int, FromEnvironment("ACME_PORT")] = 1
    group: Annotated[
        str, FromEnvironment("ACME_GROUP", input=("ACME_INPUT_GROUP", "OLD_INPUT_GROUP"), output=("ACME_OUTPUT_GROUP",))
    ] = Field("default", alias="group.id")
    password: Annotated[SecretStr, FromEnvironment("ACME_PASSWORD")] = SecretStr("")
    plain: int = 3


class OpenOptions(ConnectorOptions):
    model_config = ConfigDict(extra="allow")


def _filled(values: dict[str, Any], role: Any = "input", **environment: str) -> tuple[dict[str, Any], dict[str, str]]:
    return fill_from_environment(Options, values, role, environment)


def test_the_environment_fills_what_the_config_leaves_out() -> None:
    """And says which variable it was."""
    assert _filled({"plain": 4}, ACME_HOST="redis", ACME_PORT="6379") == (
        {"plain": 4, "host": "redis", "port": "6379"},
        {"host": "ACME_HOST", "port": "ACME_PORT"},
    )


def test_the_config_wins() -> None:
    """A value that is written, even an empty one, is never replaced."""
    assert _filled({"host": "", "port": 2}, ACME_HOST="redis", ACME_PORT="3") == ({"host": "", "port": 2}, {})


@pytest.mark.parametrize("key", ["group.id", "group"])
def test_the_config_wins_by_alias_and_by_name(key: str) -> None:
    """A key may be written either way; the environment does not add it a second time."""
    assert _filled({key: "mine"}, ACME_GROUP="theirs") == ({key: "mine"}, {})


def test_an_empty_variable_is_not_set() -> None:
    """An orchestrator that passes `HOST=` says nothing."""
    assert _filled({}, ACME_HOST="", HOST="second") == ({"host": "second"}, {"host": "HOST"})


def test_the_first_variable_wins() -> None:
    """In the order in which the field names them."""
    assert _filled({}, HOST="second", ACME_HOST="first")[0] == {"host": "first"}


@pytest.mark.parametrize(
    ("role", "found"),
    [("input", "ACME_INPUT_GROUP"), ("output", "ACME_OUTPUT_GROUP")],
)
def test_a_variable_of_the_role_is_stronger(role: str, found: str) -> None:
    """An input and an output of one process may differ."""
    every = {name: name for name in ("ACME_GROUP", "OLD_INPUT_GROUP", "ACME_INPUT_GROUP", "ACME_OUTPUT_GROUP")}

    assert _filled({}, role, **every) == ({"group.id": found}, {"group.id": found})


def test_a_variable_of_the_other_role_is_not_read() -> None:
    """The general one is."""
    assert _filled({}, "output", ACME_INPUT_GROUP="in", ACME_GROUP="both")[0] == {"group.id": "both"}


def test_the_users_mapping_is_not_changed() -> None:
    """Values are filled into a copy."""
    values: dict[str, Any] = {"plain": 4}
    _filled(values, ACME_HOST="redis")

    assert values == {"plain": 4}


def test_what_was_filled_in_is_validated_like_what_was_written() -> None:
    """A variable is text; the field makes a number of it, or refuses it."""
    assert Options(**_filled({}, ACME_PORT="6379")[0]).port == 6379
    with pytest.raises(ValidationError, match="port"):
        Options(**_filled({}, ACME_PORT="many")[0])


def test_the_fields_that_a_variable_may_fill_are_listed_by_their_keys() -> None:
    """As a config writes them, for documentation and errors."""
    listed = {key: mark.candidates("input") for key, _field, mark in environment_fields(Options)}

    assert listed == {
        "host": ("ACME_HOST", "HOST"),
        "port": ("ACME_PORT",),
        "group.id": ("ACME_INPUT_GROUP", "OLD_INPUT_GROUP", "ACME_GROUP"),
        "password": ("ACME_PASSWORD",),
    }


def test_an_unknown_key_is_refused_unless_the_connector_passes_it_on() -> None:
    """A slip is found; a client that validates for itself may get anything."""
    with pytest.raises(ValidationError, match="hots"):
        Options(hots="x")  # type: ignore[call-arg]

    assert OpenOptions(**{"linger.ms": 5}).model_extra == {"linger.ms": 5}  # type: ignore[arg-type]


def test_options_cannot_be_changed() -> None:
    """A queue's options are what its config said."""
    with pytest.raises(ValidationError, match="frozen"):
        Options().port = 2  # type: ignore[call-arg, misc]


def test_no_error_and_no_repr_shows_a_secret() -> None:
    """Not the wrong value of another key either, for that may be a secret in the wrong place."""
    options = Options(password="hunter2")  # type: ignore[arg-type, call-arg]
    with pytest.raises(ValidationError) as raised:
        Options(port="hunter2", password="hunter2")  # type: ignore[arg-type, call-arg]

    assert "hunter2" not in repr(options) + str(options) + str(raised.value) + options.model_dump_json()
    assert options.password.get_secret_value() == "hunter2"


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("sasl.password", True),
        ("SSL.KEY.PASSWORD", True),
        ("sasl.oauthbearer.client.secret", True),
        ("aws_session_token", True),
        ("ssl.private.key.pem", True),
        ("credentials", True),
        ("sasl.jaas.config", True),
        ("bootstrap.servers", False),
        ("group.id", False),
        ("key", False),
    ],
)
def test_a_key_that_may_hold_a_secret_is_known_by_its_name(key: str, secret: bool) -> None:
    """For keys that are passed through, which have no type to tell."""
    assert ConnectorOptions.is_secret_key(key) is secret
