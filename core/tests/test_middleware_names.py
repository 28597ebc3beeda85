"""Middleware by name: in a configuration, from a plugin, and in what the commands say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.plugins.distributions import install_only, plugin

from penstock.cli.main import main
from penstock.config.files import load
from penstock.config.middleware import configured_middleware, make_middleware
from penstock.config.report import section_rows
from penstock.config.resolve import registry_for
from penstock.engine import Engine
from penstock.errors import ConfigError
from penstock.plugins.registry import Registry

from .engine_fixture import EngineFixture, drain

ACME = """
from penstock.hookspecs import hookimpl
from penstock.specs import MiddlewareSpec

PLUGIN_API = 1

@hookimpl
def penstock_middleware():
    return [
        MiddlewareSpec("acme", "acme_middleware.classes:Acme", summary="tells Acme"),
        MiddlewareSpec("acme.plain", "acme_middleware.classes:plain"),
    ]
"""
CLASSES = """
from pydantic import SecretStr, field_validator
from penstock.middleware import Middleware

class Acme(Middleware):
    token: SecretStr
    level: int = 1

    @field_validator("level")
    @classmethod
    def _not_two(cls, level):
        if level == 2:
            raise ValueError("level 2 is not for sale")
        if level == 3:
            raise OSError("no level")
        return level

def plain(call):
    yield
"""


@pytest.fixture
def _acme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install_only(monkeypatch, tmp_path, plugin("acme-middleware", "acme", ACME, modules={"classes.py": CLASSES}))


def problems(*middleware: Any) -> list[str]:
    """What is wrong with a configuration's middleware."""
    configuration = load({"queues": {"in": {}}, "engine": {"middleware": list(middleware)}})
    return [str(problem) for problem in configured_middleware(configuration, registry_for(configuration))[1]]


@pytest.mark.parametrize(
    ("middleware", "problem"),
    [
        ("timout", "did you mean 'timeout'?"),
        ("json", "'json' is a serializer; installed are rate_limit, timeout"),
        ({"seconds": 3}, "middleware is a name, or a mapping with a 'name' and the options"),
        ("timeout", "'middleware[0].seconds' is missing; write it"),
        (
            {"name": "timeout", "second": 3, "seconds": 3},
            "'middleware[0].second' is not a key of middleware 'timeout'; did you mean 'seconds'?",
        ),
        ({"name": "timeout", "seconds": 0}, "'middleware[0].seconds' must be more than 0.0"),
        ({"name": "timeout", "seconds": "x"}, "'middleware[0].seconds' must be a number, not this text"),
    ],
)
def test_a_mistake_is_answered_with_its_place_and_what_to_do(middleware: Any, problem: str) -> None:
    """An unknown name with the nearest one, an option with what it must be."""
    (told,) = problems(middleware)

    assert told.startswith("engine: ")
    assert told.endswith(problem)


@pytest.mark.usefixtures("_acme")
def test_a_plugin_s_middleware_is_made_with_its_options() -> None:
    """A class with options, a function without any."""
    made, wrong = make_middleware([{"name": "acme", "token": "geheim", "level": 4}, "acme.plain"], Registry(), "x")

    assert wrong == []
    assert made[0].level == 4  # type: ignore[union-attr]
    assert made[1].__name__ == "plain"  # type: ignore[union-attr]


@pytest.mark.usefixtures("_acme")
@pytest.mark.parametrize(
    ("middleware", "problem"),
    [
        ({"name": "acme", "token": "geheim", "level": 2}, "level 2 is not for sale"),
        ({"name": "acme", "token": "geheim", "level": 3}, "cannot be made of its options: OSError: no level"),
        ({"name": "acme.plain", "level": 2}, "middleware 'acme.plain' takes no options; write its name alone"),
        ("acem", "did you mean 'acme'?"),
    ],
)
def test_a_plugin_s_words_are_told_without_its_secrets(middleware: Any, problem: str) -> None:
    """Whatever its validators raise."""
    (told,) = problems(middleware)

    assert problem in told
    assert "geheim" not in told


@pytest.mark.usefixtures("_acme")
def test_the_commands_know_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`penstock plugins` lists it, `penstock check` judges it and shows no secret."""
    monkeypatch.chdir(tmp_path)
    good = "queues:\n  in: {consumer: collections:OrderedDict}\nengine:\n  middleware: [{name: acme, token: geheim}]\n"
    (tmp_path / "good.yml").write_text(good)
    (tmp_path / "bad.yml").write_text(good.replace("name: acme", "name: acmee"))

    assert main(["plugins"]) == 0
    listed = capsys.readouterr().out
    assert main(["check", "bad.yml"]) == 2
    refused = capsys.readouterr().err

    assert "middleware     acme        acme-middleware" in listed
    (row,) = [row for row in section_rows(load(tmp_path / "good.yml"), "engine") if row.key == "middleware"]
    assert row.value == "[{name: acme, token: ********}]"
    assert "engine (bad.yml:4:16): middleware 'acmee': nothing that is installed offers one" in refused
    assert "did you mean 'acme'?" in refused


def test_an_engine_tells_all_problems_of_both_lists() -> None:
    """The configuration's and its own."""
    app = Engine(
        "in",
        queue_config={"queues": {"in": {"connector": "memory"}}, "engine": {"middleware": ["timeut"]}},
        middleware=["rate_limt"],
    )
    app.stream_app(lambda _number: None)

    with pytest.raises(ConfigError) as raised:
        drain(app)

    assert "did you mean 'timeout'?" in raised.value.problems[0]
    assert raised.value.problems[1].startswith("engine 'lambda': middleware 'rate_limt'")
    assert "did you mean 'timeout'?" in str(app.problems()[0])


def test_a_name_in_the_program_is_like_one_in_the_configuration() -> None:
    """With options, as a mapping."""
    stand = EngineFixture()
    stand.put(b"1")

    drain(stand.engine(lambda number: ("out", number), middleware=[{"name": "timeout", "seconds": 60}]))

    assert stand.bodies() == [b"1"]
