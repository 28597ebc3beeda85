"""The table of features is complete, and each row names what is there: an option or a call, and the test of it."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from penstock.cli.main import command_line, configured
from penstock.config.schema import configuration_schema
from penstock.options import environment_fields
from penstock.plugins.registry import Registry
from penstock.retry import QueueRetry, RetryPolicy
from tests.sources import ROOT

PAGE = (ROOT / "docs" / "reference" / "features.md").read_text()
LISTED = {"V": 18, "C": 12, "D": 20, "R": 16, "P": 36, "Q": 18}
"""How many features each document has: its ids are V1 to V18, and so on."""
SECTIONS = ("queue", "engine", "worker", "plugins")
ROWS = [
    (match[1], [cell.strip() for cell in match[2].split("|")])
    for match in re.finditer(r"^\| ([A-Z]\d+) \| (.*) ?\|$", PAGE, re.MULTILINE)
]


def code(cell: str) -> list[str]:
    """What stands in `code` in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def test_every_feature_has_one_row() -> None:
    """In the order of the documents."""
    listed = [f"{document}{number}" for document, count in LISTED.items() for number in range(1, count + 1)]

    assert [feature for feature, _ in ROWS] == listed


@pytest.mark.parametrize("cells", [cells for _, cells in ROWS], ids=[feature for feature, _ in ROWS])
def test_a_row_is_true(cells: list[str]) -> None:
    """What it names exists; what is open has a reason, and what to do instead."""
    name, here, proof = cells
    built, is_open, reason = here.partition("**Open**")
    assert name
    assert here
    if is_open:
        assert "because" in reason
        assert "instead, " in reason
    assert proof, "no test proves it"
    for written in code(built):
        assert _exists(written), f"{written!r} does not exist"
    for test in code(proof):
        assert test in _tests(test.partition("::")[0]), f"{test} does not exist"


def _exists(written: str) -> bool:
    """Whether code, a command with its options, a key of a configuration, or what a plugin offers is there."""
    if written.startswith("penstock "):
        return _in_command_line(*written.split()[1:])
    if written.startswith(("penstock.", "penstock_compat.")):
        return _in_python(written)
    connector, colon, option = written.partition(": ")
    if colon:
        return option in _schema()[f"options.{connector}"]["properties"]
    return written in _keys() or written in _offered()


def _in_command_line(name: str, *words: str) -> bool:
    parser, commands = command_line()
    if name in commands.choices:
        configured(name, commands)
        parser = commands.choices[name]
    else:
        words = (name, *words)
    printed = parser.format_help()
    return all(re.search(rf"(?<!\S){re.escape(word)}\b", printed) for word in words)


def _in_python(path: str) -> bool:
    dotted, _, parameter = path.rstrip(")").partition("(")
    module = dotted
    while not _is_module(module):
        module = module.rpartition(".")[0]
    found: Any = import_module(module)
    for part in dotted.removeprefix(module).split(".")[1:]:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return not parameter or parameter in inspect.signature(found).parameters


def _is_module(path: str) -> bool:
    try:
        return find_spec(path) is not None
    except ModuleNotFoundError:  # what stands before the last dot is not a package
        return False


@cache
def _schema() -> Any:
    return configuration_schema(Registry())[0]["$defs"]


@cache
def _keys() -> set[str]:
    """The keys of each section, those of a section in it too."""
    found = {f"{section}.{key}" for section in SECTIONS for key in _schema()[section]["properties"]}
    found |= {f"queue.retry.{key}" for key in QueueRetry.model_fields}
    return found | {f"engine.retry.{key}" for key in RetryPolicy.model_fields}


@cache
def _offered() -> set[str]:
    """Names of connectors, profiles and serializers, and the variables of the environment."""
    registry = Registry()
    found = {each.name for each in registry.listing()}
    for name in registry.names("connector"):
        spec = registry.connector(name)
        if spec.options:
            model = registry.load(spec, str(spec.options))
            for _, _, mark in environment_fields(model):
                found.update(mark.candidates("input"), mark.candidates("output"))
    return found


@cache
def _tests(path: str) -> set[str]:
    """The tests of a file as pytest names them, and its classes, which may inherit tests."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef):
            found.add(f"{path}::{node.name}")
            inner = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            found.update(f"{path}::{node.name}::{each.name}" for each in inner)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(f"{path}::{node.name}")
    return {each for each in found if each.rpartition("::")[2].lower().startswith("test")}
