"""Options: judged by the connector's own model and check, in sentences that say where and never show a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from core.tests import acme

from penstock.config.files import load
from penstock.config.resolve import registry_for, validate
from penstock.hookspecs import hookimpl
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.specs import Profile


@pytest.fixture(autouse=True)
def _acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    acme.install(monkeypatch, tmp_path)


def problems(settings: Any, role: Role = "output", **environment: str) -> list[str]:
    """What is wrong with a queue of these settings, without the queue's name."""
    configuration = load({"orders": settings}, environment)
    resolution = validate(configuration, "orders", role, registry=registry_for(configuration), environment=environment)
    return [str(problem).removeprefix("queue 'orders'").removeprefix(": ") for problem in resolution.problems]


def test_wrong_options_are_told_together() -> None:
    """Unknown, of the wrong type, out of range, nested: each by its key, none with its value."""
    config = {"hots": "h", "port": "hunter2", "tls": {"ca": 1, "cert": "x"}, "group.id": ["hunter2"], "host": "h"}

    assert problems({"connector": "acme", "config": config}) == [
        "'config.port' must be a whole number, not this text",
        "'config.group.id' must be text, not a list",
        "'config.tls.ca' must be text, not a number (put it in quotes if it is text)",
        "'config.tls.cert' is not a key of 'tls' of connector 'acme'; its keys are 'ca', 'key_password'",
        "'config.hots' is not a key of connector 'acme'; did you mean 'host'?",
    ]


def test_a_rule_about_all_options_is_told_in_the_plugins_own_words() -> None:
    """What a model validator says stands behind the key it is about."""
    assert problems({"connector": "acme", "config": {"host": "h", "url": "none"}}) == [
        "'config': the server has no name; write 'url' or leave it out"
    ]


def test_a_rule_about_all_options_does_not_hide_a_misspelt_one() -> None:
    """It may be why the rule is broken; here another distribution's, with a rule that comes first."""
    settings = {"connector": "postgres", "config": {"tabel": "letters"}}
    configuration = load({"orders": settings}, {})
    found = validate(configuration, "orders", "output", registry=Registry(), environment={}).problems

    assert [str(problem).removeprefix("queue 'orders': ") for problem in found] == [
        "'config': no PostgreSQL server is given: set the environment variable POSTGRES_DSN (or DATABASE_URL), or "
        "write `config: {dsn: postgresql://…}`",
        "'config.tabel' is not a key of connector 'postgres'; did you mean 'table'?",
    ]


def test_a_missing_option_says_which_variable_would_do(tmp_path: Path) -> None:
    """By the role that the queue is opened for."""
    assert problems({"connector": "acme"}, "output") == [
        "'config.host' is missing; write it or set the environment variable ACME_PRODUCER_HOST or ACME_HOST"
    ]
    assert problems({"connector": "acme", "config": {"group.id": "g"}}, "input") == [
        "'config.host' is missing; write it or set the environment variable ACME_CONSUMER_HOST or ACME_HOST"
    ]


def test_a_wrong_value_from_elsewhere_names_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable or a profile is to blame, and not the file that does not hold the value."""
    assert problems({"connector": "acme"}, ACME_HOST="h", ACME_PORT="hunter2") == [
        " (environment ACME_PORT): 'config.port' must be a whole number, not this text"
    ]
    profile = Profile("acme", connector="acme", config={"prt": 1, "host": "h"})
    monkeypatch.setattr(acme, "penstock_profiles", hookimpl(specname="penstock_profiles")(lambda: [profile]))
    assert problems({"profile": "acme"}) == [
        " (profile acme): 'config.prt' is not a key of connector 'acme'; did you mean 'port'?"
    ]


def test_problems_show_file_line_and_column(tmp_path: Path) -> None:
    """Down to the option."""
    file = tmp_path / "queues.yml"
    file.write_text("orders:\n  connector: acme\n  config:\n    host: h\n    tls:\n      kee: 1\n")
    configuration = load(file, {})

    registry = registry_for(configuration)

    (problem,) = map(str, validate(configuration, "orders", "output", registry=registry, environment={}).problems)

    assert problem == (
        f"queue 'orders' ({file}:6:7): 'config.tls.kee' is not a key of 'tls' of connector 'acme'; "
        "its keys are 'ca', 'key_password'"
    )


def test_a_check_that_names_an_option_points_to_its_line(tmp_path: Path) -> None:
    """Or to the variable that it came from."""
    file = tmp_path / "queues.yml"
    file.write_text("orders:\n  connector: acme\n  config:\n    host: h\n    port: 22\n")
    configuration = load(file, {})
    registry = registry_for(configuration)
    sentence = "connector 'acme': 'port' is another service's; take one above 1024"

    resolution = validate(configuration, "orders", "output", registry=registry, environment={})
    assert [str(problem) for problem in resolution.problems] == [f"queue 'orders' ({file}:5:5): {sentence}"]
    assert problems({"connector": "acme"}, ACME_HOST="h", ACME_PORT="22") == [f" (environment ACME_PORT): {sentence}"]


def test_the_connectors_own_check_is_asked() -> None:
    """It judges what no model can, by role, with the backend's name of the queue."""
    assert problems({"connector": "acme", "config": {"host": "h"}, "value": "a b"}, "input") == [
        "connector 'acme': an input needs 'config.group.id'; write it",
        "connector 'acme': the queue's 'value' has a blank; take it out",
    ]
    assert problems({"connector": "acme", "config": {"host": "h"}}, "output") == []


def test_a_check_is_not_asked_about_options_that_are_refused_or_incomplete() -> None:
    """It may rely on what the model promises."""
    assert len(problems({"connector": "acme", "config": {"host": "h", "port": 0}}, "input")) == 1
    assert len(problems({"connector": "acme", "config": {"host": "${H}"}}, "input")) == 1


@pytest.mark.parametrize("pin", ["1357", "7", "13579"])
def test_a_secret_in_a_plugins_own_message_is_taken_out(pin: str) -> None:
    """A validator that repeats the value does not print it."""
    (problem,) = problems({"connector": "acme", "config": {"host": "h", "pin": pin}})

    assert problem == "'config.pin': must be even, and ******** is not"


def test_a_model_or_a_check_that_crashes_is_a_problem_of_its_queue() -> None:
    """With all other problems still told, and no secret in the text."""
    assert problems({"connector": "acme", "config": {"host": "h", "pin": "000000"}, "serializer": int}) == [
        "'config': the options model of connector 'acme' raised KeyError: '********'",
        "'serializer' is int, which is not a class derived from penstock.serializers.Serializer",
    ]
    assert problems({"connector": "acme", "config": {"host": "h"}, "value": "crash"}) == [
        "connector 'acme': its check raised RuntimeError: no rule for crash"
    ]


def test_a_secret_in_a_checks_message_is_taken_out() -> None:
    """Wherever the secret came from."""
    assert problems({"connector": "acme", "config": {"host": "h"}}, ACME_PASSWORD="letmein123") == [
        "connector 'acme': the server refuses the password ********; choose another"
    ]


def test_keys_that_a_connector_passes_on_are_kept() -> None:
    """A model that allows unknown keys gets them all, as they are."""
    configuration = load({"a": {"connector": "acme-open", "config": {"linger.ms": 5, "host": "x"}}}, {})

    queue = validate(configuration, "a", "input", registry=registry_for(configuration), environment={}).resolved

    assert queue is not None
    assert queue.options.model_extra == {"linger.ms": 5}
