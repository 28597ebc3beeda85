"""The reference is complete: every setting, metric, hook, error, option and header of the code is on its page."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from penstock import Engine, Worker, dead_letters, errors, hookspecs, specs
from penstock.capabilities import CAPABILITY_NAMES
from penstock.cli.main import COMMANDS
from penstock.config.arguments import NOT_GIVEN
from penstock.config.model import EngineSettings, LogSettings, PluginSettings, QueueConfig, WorkerSettings
from penstock.config.schema import configuration_schema
from penstock.message import QueueMessage
from penstock.observability.health import State
from penstock.observability.metric_definitions import METRICS
from penstock.options import environment_fields
from penstock.pipeline.settlement import Stage
from penstock.plugins.policy import ALLOW_VARIABLE, BLOCK_VARIABLE
from penstock.plugins.registry import Registry
from penstock.retry import QueueRetry, RetryPolicy

DOCS = Path(__file__).parents[1] / "docs"
REFERENCE = DOCS / "reference"
WITH_TABLES = sorted(page for page in DOCS.rglob("*.md") if "<!-- table:" in page.read_text())
COMPUTED = {("QueueConfig", "name"), ("EngineSettings", "retry"), ("WorkerSettings", "log")}
"""Settings whose default no literal can say."""


def generator() -> ModuleType:
    """docs/tables.py, which is not a module of any package."""
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text(page: str) -> str:
    """A page of the reference."""
    return (REFERENCE / f"{page}.md").read_text()


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text(page), re.DOTALL | re.MULTILINE)
    assert found, f"{page}.md has no heading {heading!r}"
    return found[1]


def rows(markdown: str) -> dict[str, list[str]]:
    """A table's rows by what stands in `code` in their first column."""
    found: dict[str, list[str]] = {}
    for line in markdown.splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for name in re.findall(r"`([^`]+)`", cells[0]):
                found[name] = cells
    return found


@pytest.mark.parametrize("page", WITH_TABLES, ids=lambda page: page.stem)
def test_the_tables_that_are_made_from_the_code_are_current(page: Path) -> None:
    """`python docs/tables.py` would change nothing."""
    assert page.read_text() == generator().current(page.read_text()), "run `python docs/tables.py`"


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("A queue", QueueConfig),
        ("A queue's `retry`", QueueRetry),
        ("`engine`", EngineSettings),
        ("`engine.retry`", RetryPolicy),
        ("`worker`", WorkerSettings),
        ("`worker.log`", LogSettings),
        ("`plugins`", PluginSettings),
    ],
)
def test_every_setting_stands_on_its_page_with_its_default(heading: str, model: type[BaseModel]) -> None:
    """No more rows than settings, no fewer, and no other defaults."""
    table = rows(section("configuration", heading))
    assert list(table) == list(model.model_fields)
    for name, field in model.model_fields.items():
        _key, kind, default, meaning = table[name]
        assert kind
        assert meaning
        if (model.__name__, name) not in COMPUTED and not (model is QueueConfig and field.get_default() is None):
            assert _as_written(default) == _as_written(_shown(field.get_default(call_default_factory=True))), name


def _shown(value: Any) -> str:
    return str(generator().default(value))


def _as_written(default: str) -> str:
    plain = default.strip("`")
    return {"64MiB": str(64 * 2**20), "yes": "true", "no": "false"}.get(plain, plain)


@pytest.mark.parametrize("documented", [Engine, Worker], ids=lambda each: each.__name__)
def test_every_argument_stands_on_its_page_in_its_order_with_its_default(documented: type) -> None:
    """So do the members that a program may use."""
    arguments, members = section("engine", f"`{documented.__name__}`").split("| member |")
    table = rows(arguments)
    parameters = list(inspect.signature(documented).parameters.values())
    assert list(table) == [each.name for each in parameters]
    for each in parameters:
        default = table[each.name][1].strip("`").replace('"', "'")
        wanted = "" if each.default is each.empty else "not given" if each.default is NOT_GIVEN else repr(each.default)
        assert default == wanted, each.name
    for member in rows(members):
        assert hasattr(
            documented, member.removesuffix("()").partition("(")[0]
        ) or f"self.{member} = " in inspect.getsource(documented), member


def test_only_the_arguments_that_the_page_says_are_by_name_only() -> None:
    """The first seven by position."""
    kinds = [each.kind for each in inspect.signature(Engine).parameters.values()]
    assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) == 7
    assert inspect.signature(Worker).parameters["drain"].kind is inspect.Parameter.KEYWORD_ONLY


def test_every_metric_stands_on_its_page() -> None:
    """The table is made from the list; this test fails if the table is removed."""
    assert {metric.name for metric in METRICS} <= rows(text("metrics")).keys()


def test_every_state_of_health_stands_on_its_page() -> None:
    """As `/readyz` shows them."""
    assert not [state for state in get_args(State) if f"`{state}`" not in text("metrics")]


def test_every_error_stands_on_its_page_in_its_place() -> None:
    """The tree is that of the module, line by line, and each class is explained."""
    tree = inspect.cleandoc(errors.__doc__ or "").split("\n\n")[1]
    assert inspect.cleandoc(tree) in text("errors")
    classes = [
        name for name, each in vars(errors).items() if inspect.isclass(each) and each.__module__ == errors.__name__
    ]
    explained = rows(text("errors"))
    assert not [
        name
        for name in classes
        if name not in explained and name not in ("PenstockError", "ConnectorError", "MessageError")
    ]


def test_every_header_of_a_dead_letter_stands_on_its_page() -> None:
    """And every stage that one of them may name."""
    documented = {name for name in rows(text("headers")) if name.startswith("penstock-")}
    assert documented == dead_letters.ERROR_HEADERS | {"penstock-envelope"}
    assert set(get_args(Stage)) <= rows(text("headers")).keys()


def test_every_command_and_option_stands_on_its_page() -> None:
    """Under the command's own heading, by each of its names."""
    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        import_module(f"penstock.cli.{command.replace('-', '_')}").configure(parser)
        heading = re.search(rf"^## (`penstock {command}\b.*)$", text("command_line"), re.MULTILINE)
        assert heading, f"there is no heading for `penstock {command}`"
        if actions := _actions(parser):
            names = [each.metavar for each in parser._actions if not each.option_strings and each.choices is None]
            _assert_actions(" ".join([command, *map(str, names)]), actions)
        else:
            assert _documented(section("command_line", heading[1])) == _options(parser), command


def test_every_command_of_our_plugins_stands_on_its_page() -> None:
    """Each of its actions under a heading, with the options of that."""
    registry = Registry()
    names = [each.name for each in registry.listing() if each.kind == "command" and each.origin == "first-party"]
    for command in names:
        parser = argparse.ArgumentParser()
        spec = registry.command(command)
        registry.load(spec, spec.target).configure(parser)
        # A command without actions has its options itself.
        _assert_actions(command, _actions(parser) or {"": parser})
    assert names


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return found[0] if found else {}


def _assert_actions(command: str, actions: dict[str, argparse.ArgumentParser]) -> None:
    for action, parser in actions.items():
        words = f"{command} {action}".strip()
        found = re.search(rf"^### `penstock {words}\b(.*?)(?=^#|\Z)", text("command_line"), re.DOTALL | re.MULTILINE)
        assert found, f"there is no heading for `penstock {words}`"
        assert _documented(found[1]) == _options(parser), words


def _options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings} - {"-h", "--help"}


def _documented(table: str) -> set[str]:
    cells = re.findall(r"^\| (`-.*?) \|", table, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"(?<![\w-])-{1,2}[a-z-]+", cell)}


def test_every_exit_code_stands_on_its_page() -> None:
    """Those that the command line itself tells of."""
    told = re.search(
        r"Exit codes: (.*?)\.\n", inspect.cleandoc(import_module("penstock.cli.main").__doc__ or "") + "\n", re.DOTALL
    )
    assert told
    codes = set(re.findall(r"(?:^|; ?|;\n)(\d+) ", told[1]))
    assert codes == {
        line.split("|")[1].strip()
        for line in section("command_line", "Exit codes").splitlines()
        if re.match(r"\| \d", line)
    }


def test_every_hook_stands_on_its_page() -> None:
    """With what it returns, and the number of the API."""
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("penstock_")}
    table = rows(section("plugins", "What a plugin is"))
    assert table.keys() == hooks.keys()
    for name, hook in hooks.items():
        spec = re.search(r"\[(\w+)\]", hook.__annotations__["return"])
        assert spec
        assert hasattr(specs, spec[1])
        assert f"`{spec[1]}`" in table[name][1]
    assert f"PLUGIN_API = {hookspecs.PLUGIN_API}\n" in text("plugins")


def test_every_variable_stands_on_its_page() -> None:
    """Those that fill an option of our own connectors, and those that keep plugins out."""
    registry = Registry()
    for name in generator().CONNECTORS:
        spec = registry.connector(name)
        page = section("connectors", f"`{name}`")
        for key, _field, mark in environment_fields(registry.load(spec, str(spec.options))):
            for variable in (*mark.candidates("input"), *mark.candidates("output")):
                assert f"`{variable}`" in rows(page)[key][2], f"{name}: {key}"
    for page in ("plugins", "configuration", "command_line"):
        assert ALLOW_VARIABLE in text(page)
        assert BLOCK_VARIABLE in text(page)


def test_every_first_party_connector_and_profile_stands_on_its_page() -> None:
    """A new plugin of ours needs its table."""
    ours = [offer for offer in Registry().listing() if offer.origin in ("first-party", "built-in")]
    page = text("connectors")
    assert {offer.name for offer in ours if offer.kind == "connector"} == set(generator().CONNECTORS)
    assert {offer.name for offer in ours if offer.kind == "profile"} == set(rows(section("connectors", "Profiles")))
    # Commands and middleware stand on pages of their own.
    assert not [
        offer.name for offer in ours if offer.kind not in ("command", "middleware") and f"`{offer.name}`" not in page
    ]


def test_every_middleware_of_ours_stands_on_its_page_with_its_options() -> None:
    """No more rows than options, no fewer."""
    registry = Registry()
    ours = [each for each in registry.listing() if each.kind == "middleware" and each.origin == "built-in"]
    assert ours
    for offer in ours:
        spec = registry.middleware(offer.name)
        model = registry.load(spec, spec.target)
        assert list(rows(section("middleware", f"`{offer.name}`"))) == list(model.model_fields)


def test_every_option_of_our_connectors_is_described_in_the_schema() -> None:
    """An editor has a word for each."""
    schema, problems = configuration_schema(Registry())
    assert problems == []
    options = {name: each for name, each in schema["$defs"].items() if name.startswith("options.")}
    assert {"options.kafka", "options.memory", "options.postgres", "options.postgres.table"} <= options.keys()
    for name, each in options.items():
        for key, described in each.get("properties", {}).items():
            assert described.get("description") or "$ref" in described, f"{name}: {key}"


def test_every_capability_is_explained() -> None:
    """Beside the table of who has it."""
    explained = section("connectors", "Capabilities").split("what it means")[1]
    assert set(CAPABILITY_NAMES) == rows(explained).keys() & set(CAPABILITY_NAMES)


def test_every_attribute_of_a_message_stands_on_its_page() -> None:
    """What `msg_ctx: QueueMessage` gives to a function."""
    assert set(QueueMessage.__slots__) <= rows(section("function", "What it takes")).keys()
