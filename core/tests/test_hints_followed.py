"""Every hint is followed: what an error says to write is accepted when it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from penstock.cli.main import main
from penstock.config.files import load
from penstock.config.model import EngineSettings, PluginSettings, QueueConfig, WorkerSettings
from penstock.config.resolve import problems_of
from penstock.errors import ConfigError
from penstock.options import Role
from penstock.plugins.registry import Registry
from penstock.retry import QueueRetry, RetryPolicy
from penstock.specs import ConnectorSpec

MEANT = re.compile(r"did you mean '([^']+)'\?")


def misspelt(key: str) -> str:
    """A slip: two letters change places, or one is missing."""
    return key[:-2] + key[-1] + key[-2] if len(key) > 3 else key + key[-1]


def keys() -> list[tuple[str, str]]:
    """Every key of ours, by its section."""
    sections: dict[str, type[BaseModel]] = {
        "engine": EngineSettings,
        "worker": WorkerSettings,
        "plugins": PluginSettings,
        "engine.retry": RetryPolicy,
        "queue": QueueConfig,
        "queue.retry": QueueRetry,
    }
    return [(section, key) for section, model in sections.items() for key in model.model_fields]


def configuration(section: str, key: str) -> dict[str, Any]:
    """A configuration with this key, without a value."""
    whole: dict[str, Any] = {"queues": {"a": {"connector": "memory"}}}
    if section == "queue":
        whole["queues"]["a"][key] = None
    elif section == "queue.retry":
        whole["queues"]["a"]["retry"] = {key: None}
    elif section == "engine.retry":
        whole["engine"] = {"retry": {key: None}}
    else:
        whole[section] = {key: None}
    return whole


def unknown(section: str, key: str) -> list[str]:
    """The problems with this key that say that it is not one."""
    try:
        load(configuration(section, key))
    except ConfigError as error:
        return [text for text in error.problems if "is not a key of" in text or "leave it out" in text]
    return []


@pytest.mark.parametrize(("section", "key"), keys())
def test_the_hint_for_a_misspelt_key_names_one_that_is_accepted(section: str, key: str) -> None:
    """In every section, and in a queue; the name of a queue in a mapping cannot be given again."""
    [problem] = unknown(section, misspelt(key))

    if (section, key) == ("queue", "name"):
        assert "remove it: the queue is named 'a'" in problem
        return
    [meant] = MEANT.findall(problem)
    assert meant == key
    assert unknown(section, meant) == []


SERVERS = {
    "postgres": {"dsn": "postgresql://u@h/db"},
    "postgres.table": {"dsn": "postgresql://u@h/db"},
}
"""What must be there before anything else is judged."""


def connectors() -> list[tuple[str, Role, str]]:
    """Every option of every connector with typed options, each with a role that it has."""
    registry = Registry()
    found: list[tuple[str, Role, str]] = []
    for name in registry.names("connector"):
        spec = registry.connector(name)
        if isinstance(spec, ConnectorSpec) and spec.options is not None and not name.startswith("kafka"):
            model = registry.load(spec, spec.options)
            role: Role = "input" if spec.consumer else "output"
            found += [(name, role, field.alias or key) for key, field in model.model_fields.items()]
    return found


@pytest.mark.parametrize(("connector", "role", "key"), connectors())
def test_the_hint_for_a_misspelt_option_names_one_of_the_connectors(connector: str, role: Role, key: str) -> None:
    """Kafka's have a test of their own: the client judges them."""

    def found(name: str) -> list[str]:
        config = load({"queues": {"q": {"connector": connector, "config": {**SERVERS.get(connector, {}), name: None}}}})
        return [str(each) for each in problems_of(config, (), [("q", role)]) if "is not a key of" in str(each)]

    [problem] = found(misspelt(key))
    [meant] = MEANT.findall(problem)
    assert found(meant) == []


@pytest.mark.parametrize(
    ("typed", "command"), [("--drian", "run"), ("--metric-port", "run"), ("--conect", "check"), ("--roel", "check")]
)
def test_the_hint_for_a_misspelt_option_of_a_command_is_one_of_it(
    typed: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not one that its help only speaks of."""
    with pytest.raises(SystemExit):
        main([command, typed, "x.py"])
    [meant] = MEANT.findall(capsys.readouterr().err)

    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert re.search(rf"^  (-\w, )?{meant}\b", capsys.readouterr().out, re.MULTILINE)


def test_a_schema_has_no_options_to_suggest(capsys: pytest.CaptureFixture[str]) -> None:
    """Its help shows a command line, whose words are not options."""
    with pytest.raises(SystemExit):
        main(["schema", "--schema"])

    assert "did you mean" not in capsys.readouterr().err


def test_the_hint_for_an_attribute_is_not_a_module_that_was_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`json` is imported there, and is not a data model."""
    (tmp_path / "hinted_models.py").write_text("import json\n_jsonn = 1\nclass Order: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def problem(path: str) -> str:
        config = load({"queues": {"q": {"connector": "memory", "data_model": path}}})
        return " ".join(map(str, problems_of(config, (), [("q", "input")])))

    assert "did you mean" not in problem("hinted_models.jsn")
    assert "did you mean 'Order'" in problem("hinted_models.Ordr")
