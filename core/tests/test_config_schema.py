"""The JSON schema says what the loader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from core.tests import acme
from pydantic import BaseModel, ConfigDict

from penstock.config.schema import attribute_texts, configuration_schema
from penstock.hookspecs import hookimpl
from penstock.options import ConnectorOptions
from penstock.plugins.registry import Registry
from penstock.specs import ConnectorSpec


@pytest.fixture(autouse=True)
def _acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    acme.install(monkeypatch, tmp_path)


@pytest.fixture
def schema() -> dict[str, Any]:
    """The schema with the plugin `acme` installed; it is plain JSON."""
    made, _problems = configuration_schema(Registry())
    jsonschema.Draft202012Validator.check_schema(made)
    return json.loads(json.dumps(made))


def faults(schema: dict[str, Any], data: Any) -> list[str]:
    """Where the schema finds a fault."""
    found = jsonschema.Draft202012Validator(schema).iter_errors(data)
    return [".".join(map(str, error.absolute_path)) for error in found]


@pytest.mark.parametrize(
    "data",
    [
        {"queues": {"a": {"profile": "acme"}}},
        {"queues": [{"name": "a", "profile": "acme"}], "engine": {"concurrency": 2, "max_in_flight_bytes": "64MiB"}},
        [{"name": "a", "connector": "acme", "config": {"port": 1, "group.id": "x"}}],
        {"a": {"connector": "not-installed-here", "config": {"anything": 1}}},
        {"a": {"profile": "acme", "consumer": "my.module.Consumer", "config": {"anything": 1}}},
        {"a": {"connector": "acme-open", "config": {"linger.ms": 5}}},
        {"a": {"connector": "acme", "config": {"port": "${PORT:-1}", "tls": "${TLS}"}, "batch": "${BATCH}"}},
        {"queues": {"a": {}}, "engine": {"delivery": "${D}", "retry": {"max_attempts": "${N}"}}},
        {"a": {"serializer": None, "model_handler": "none", "data_model": "my.Model"}},
        {"a": {"connector": "acme", "config": {"tls": {"ca": "file"}}}},
    ],
)
def test_what_is_right_passes(schema: dict[str, Any], data: Any) -> None:
    """Every form, names that are not installed here, variables in place of numbers."""
    assert faults(schema, data) == []


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"queues": {"a": {"model_hander": "x"}}}, "queues.a"),
        ([{"profile": "acme"}], "0"),
        ({"queues": {"a": {}}, "engin": {}}, ""),
        ({"queues": {"a": {}}, "engine": {"concurrency": 0}}, "engine.concurrency"),
        ({"queues": {"a": {}}, "engine": {"concurrency": "many"}}, "engine.concurrency"),
        ({"queues": {"a": {}}, "engine": {"retry": {"max_attemps": 1}}}, "engine.retry"),
        ({"a": {"connector": "acme", "config": {"hots": 1}}}, "a.config"),
        ({"a": {"profile": "acme", "config": {"port": "high"}}}, "a.config.port"),
        ({"a": {"connector": "acme", "config": {"tls": {"cax": "file"}}}}, "a.config.tls"),
        ({"a": {"value": 12}}, "a.value"),
        ([], ""),
    ],
)
def test_what_is_wrong_is_found_where_it_is(schema: dict[str, Any], data: Any, where: str) -> None:
    """An editor underlines the key, not the file."""
    assert where in faults(schema, data)


@pytest.mark.parametrize(
    ("middleware", "fault"),
    [
        (["rate_limit"], ""),
        ([{"name": "rate_limit", "per_second": 5}], ""),
        ([{"name": "rate_limit", "per_second": "${RATE}"}], ""),
        ([{"name": "not-installed-here", "anything": 1}], ""),
        ([{"name": "rate_limit", "per_second": "fast"}], "engine.middleware.0.per_second"),
        ([{"name": "rate_limit", "per_second": 5, "burts": 2}], "engine.middleware.0"),
        ([{"name": "rate_limit"}], "engine.middleware.0"),
        ([{"per_second": 5}], "engine.middleware.0"),
    ],
)
def test_the_options_of_middleware_are_known(schema: dict[str, Any], middleware: list[Any], fault: str) -> None:
    """Of each that is installed, by its name; another name may be known where the worker runs."""
    data = {"queues": {"a": {}}, "engine": {"middleware": middleware}}

    assert sorted(set(faults(schema, data))) == ([fault] if fault else [])


def test_the_options_of_middleware_are_described(schema: dict[str, Any]) -> None:
    """And the names are offered."""
    known = schema["$defs"]["middleware.rate_limit"]["properties"]

    assert "Messages a second" in known["per_second"]["description"]
    assert "rate_limit" in json.dumps(schema["$defs"]["engine"]["properties"]["middleware"])


def test_keys_are_described_from_their_docstrings(schema: dict[str, Any]) -> None:
    """One text, in code and editor, with the variable that fills the key."""
    options = schema["$defs"]["options.acme"]["properties"]

    assert options["port"]["description"] == "Its port, one of the usual ones. Or the environment: ACME_PORT."
    assert options["group.id"]["description"] == "Who consumes together."
    assert options["port"]["default"] == 7000
    assert schema["$defs"]["options.acme.Tls"]["properties"]["ca"]["description"] == "File of the authorities."
    assert schema["$defs"]["engine.RetryPolicy"]["properties"]["max_attempts"]["description"].startswith("Calls of ")


def test_every_key_of_ours_is_described(schema: dict[str, Any]) -> None:
    """No key of a queue or a section is without a word."""
    for section in ("queue", "engine", "worker", "plugins"):
        for key, described in schema["$defs"][section]["properties"].items():
            assert described.get("description") or "$ref" in described, f"{section}.{key}"


def test_installed_names_are_offered(schema: dict[str, Any]) -> None:
    """Completion knows what is installed here."""
    properties = schema["$defs"]["queue"]["properties"]

    assert {"acme", "acme-sink"} <= set(properties["connector"]["anyOf"][0]["enum"])
    assert {"acme", "acme-dlq"} <= set(properties["profile"]["anyOf"][0]["enum"])
    assert "json" in properties["serializer"]["anyOf"][0]["enum"]
    assert "pydantic" in properties["model_handler"]["anyOf"][0]["enum"]


class _Odd:
    pass


class OddOptions(ConnectorOptions):
    """Has a type that JSON schema cannot say."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    odd: _Odd


def test_a_connector_whose_options_have_no_schema_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """One third party's model does not take the schema from the others."""
    specs = [
        acme.ACME,
        ConnectorSpec("acme-odd", consumer=f"{acme.HERE}:AcmeConsumer", options=f"{__name__}:OddOptions"),
        ConnectorSpec("acme-gone", consumer=f"{acme.HERE}:AcmeConsumer", options="acme_gone:Options"),
    ]
    monkeypatch.setattr(acme, "penstock_connectors", hookimpl(specname="penstock_connectors")(lambda: specs))

    schema, problems = configuration_schema(Registry())

    assert "options.acme" in schema["$defs"]
    assert faults(schema, {"a": {"connector": "acme-odd", "config": {"x": 1}}}) == []
    gone, odd = problems
    assert odd.startswith("connector 'acme-odd': its options have no JSON schema: ")
    assert "acme_gone" in gone


def test_attribute_texts_of_a_docstring() -> None:
    """Shared names, continued lines, further sections and no section at all."""

    class Documented(BaseModel):
        """A model.

        Attributes:
            one, two: Both of them,
                on two lines.
            three: With a colon: here.

        Raises:
            four: Not an attribute.
        """

    assert attribute_texts(Documented) == {
        "one": "Both of them, on two lines.",
        "two": "Both of them, on two lines.",
        "three": "With a colon: here.",
    }
    assert attribute_texts(_Odd) == {}


def test_attributes_are_inherited_and_other_docstrings_are_not(schema: dict[str, Any]) -> None:
    """A model that adds nothing to its base has the base's fields, and the words for them, but no description."""

    class Derived(acme.AcmeOptions):
        pass

    assert attribute_texts(Derived)["host"] == "The server."
    assert schema["$defs"]["options.acme-open"]["description"] == "Passes on what it does not know."
