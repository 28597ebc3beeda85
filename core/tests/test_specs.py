"""A spec is checked when it is made, and importing nothing is enough to make one."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from penstock.capabilities import Capabilities
from penstock.errors import PluginError
from penstock.plugins.import_paths import resolve
from penstock.specs import ConnectorSpec, ModelHandlerSpec, Profile, SerializerSpec

MAKERS: dict[str, Callable[[str], Any]] = {
    "connector": lambda name: ConnectorSpec(name, consumer="a:B"),
    "serializer": lambda name: SerializerSpec(name, target="a:B"),
    "model_handler": lambda name: ModelHandlerSpec(name, target="a:B"),
    "profile": lambda name: Profile(name, connector="kafka"),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("name", ["kafka", "k", "7seas", "acme.fast", "acme-fast", "acme_fast", "a.b-c_d.9"])
def test_a_name_is_of_lower_case_letters_digits_and_joints(kind: str, name: str) -> None:
    """What a config can write without quotes, and what cannot be mistaken for `dist:name`."""
    spec = MAKERS[kind](name)

    assert (spec.kind, spec.name) == (kind, name)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "name", ["", "Kafka", "ka fka", "dist:kafka", "-kafka", ".kafka", "käfka", "kafka\n", "ka/fka"]
)
def test_another_name_is_refused(kind: str, name: str) -> None:
    """The error names the kind and the name."""
    with pytest.raises(PluginError) as raised:
        MAKERS[kind](name)

    assert str(raised.value) == f"{kind} {name!r}: a name is of lower-case letters, digits, '.', '_' and '-'"


@pytest.mark.parametrize(
    "text", ["a", "a.b", "a:", ":B", "a b:C", "a:B()", "a:b:c", ".a:B", "a.:B", "1a:B", "a-b:C", ""]
)
@pytest.mark.parametrize(
    ("kind", "key", "make"),
    [
        ("connector", "consumer", lambda text: ConnectorSpec("x", consumer=text)),
        ("connector", "producer", lambda text: ConnectorSpec("x", producer=text)),
        ("connector", "options", lambda text: ConnectorSpec("x", consumer="a:B", options=text)),
        ("connector", "check", lambda text: ConnectorSpec("x", consumer="a:B", check=text)),
        ("serializer", "target", lambda text: SerializerSpec("x", target=text)),
        ("model_handler", "target", lambda text: ModelHandlerSpec("x", target=text)),
        ("profile", "data_model", lambda text: Profile("x", "kafka", data_model=text)),
    ],
)
def test_what_is_no_import_string_is_refused(kind: str, key: str, make: Callable[[str], Any], text: str) -> None:
    """A slip in a plugin's module is found when its hook is asked, not when a queue is opened."""
    with pytest.raises(PluginError) as raised:
        make(text)

    assert str(raised.value) == f"{kind} 'x': {key}={text!r} is not an import string; write 'package.module:Name'"


@pytest.mark.parametrize("text", ["a:B", "a.b.c:D", "_a.b1:C.D", "a:b"])
def test_an_import_string_is_a_module_a_colon_and_a_name(text: str) -> None:
    """In a package or not, nested or not, a class or a function."""
    assert SerializerSpec("x", target=text).target == text


def test_a_connector_has_a_side() -> None:
    """One that neither consumes nor produces is a slip."""
    with pytest.raises(PluginError, match="connector 'x' has neither a consumer nor a producer"):
        ConnectorSpec("x", options="a:B")


def test_a_profile_means_json_and_pydantic_unless_it_says_otherwise() -> None:
    """The defaults are those of the reference, and its default data model exists."""
    profile = Profile("x", "kafka")

    assert (profile.serializer, profile.model_handler, profile.config, profile.batch) == ("json", "pydantic", {}, False)
    assert resolve(str(profile.data_model)).__name__ == "GenericMessage"


def test_two_specs_share_no_default() -> None:
    """A default that can be changed is made anew for each."""
    one, other = Profile("x", "kafka"), Profile("y", "kafka")

    assert one.config is not other.config
    assert ConnectorSpec("x", consumer="a:B").capabilities == Capabilities()


@pytest.mark.parametrize("kind", MAKERS)
def test_a_spec_cannot_be_changed(kind: str) -> None:
    """What a plugin offered stays what it is."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        MAKERS[kind]("x").name = "y"


def test_a_plugins_module_costs_no_client_and_no_pydantic() -> None:
    """What plugin.py imports of the core is light: it runs for every lookup."""
    program = (
        "import sys, penstock.hookspecs, penstock.specs, penstock.capabilities;"
        "print(sorted({'pydantic', 'orjson', 'yaml', 'importlib_metadata', 'prometheus_client'} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "[]"
