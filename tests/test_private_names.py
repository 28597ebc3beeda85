"""A plugin is written with public names alone: ours, a stranger's, and the one that `penstock new` writes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.new import write_plugin

ROOT = Path(__file__).parents[1]

CONTRACTS = {
    "penstock.backoff",
    "penstock.capabilities",
    "penstock.connectors",
    "penstock.dead_letters",
    "penstock.errors",
    "penstock.hookspecs",
    "penstock.message",
    "penstock.model_handlers",
    "penstock.offsets",
    "penstock.options",
    "penstock.retry",
    "penstock.serializers",
    "penstock.specs",
}
"""What a plugin's own code may import. Whatever is public of these modules stays as it is, or PLUGIN_API is raised."""

FOR_TESTS = CONTRACTS | {
    "penstock",
    "penstock.config.files",
    "penstock.config.resolve",
    "penstock.testing",
    "penstock.testing.conformance",
}
"""What a stranger's tests may import as well."""

OURS = sorted(ROOT.glob("plugins/*/src"))
STRANGERS = sorted(ROOT.glob("tests/third_party/*/src"))


def imports_of_the_core(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of everything that a file imports from the core, at whatever depth and however written.

    The name is "" for `import penstock.x`. Names that are reached through an imported module (`errors._x`) and modules
    that are imported by a text count as well.
    """
    tree = ast.parse(file.read_text(), str(file))
    modules: dict[str, str] = {}  # what a file calls a module of the core → its name
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_core(alias.name):
                    yield node.lineno, alias.name, ""
                    modules[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and _is_core(node.module):
            for alias in node.names:
                if _is_module(f"{node.module}.{alias.name}"):
                    yield node.lineno, f"{node.module}.{alias.name}", ""
                    modules[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                else:
                    yield node.lineno, node.module, alias.name
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            text = node.args[0]
            if isinstance(text, ast.Constant) and isinstance(text.value, str) and _is_core(text.value):
                yield node.lineno, text.value, ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (module := modules.get(ast.unparse(node.value))) is not None:
            yield node.lineno, module, node.attr


def _is_core(module: str) -> bool:
    return module == "penstock" or module.startswith("penstock.")


def _is_module(name: str) -> bool:
    path = ROOT / "core" / "src" / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def offences(folder: Path, public: set[str]) -> list[str]:
    """A line for each import of something that is not public."""
    return [
        f"{file.relative_to(folder)}:{line}: {module}{name and '.' + name}"
        for file in sorted(folder.rglob("*.py"))
        for line, module, name in imports_of_the_core(file)
        if module not in public or name.startswith("_") or any(part.startswith("_") for part in module.split("."))
    ]


@pytest.mark.parametrize("folder", [*OURS, *STRANGERS], ids=lambda path: path.parent.name)
def test_a_plugin_imports_public_names_only(folder: Path) -> None:
    """From the modules that are contracts, and nothing there that begins with an underscore."""
    assert offences(folder, CONTRACTS) == []


@pytest.mark.parametrize("folder", [path.parent for path in STRANGERS], ids=lambda path: path.name)
def test_a_strangers_tests_import_public_names_only(folder: Path) -> None:
    """The conformance kit, and the way of a configuration."""
    assert offences(folder / "tests", FOR_TESTS) == []


def test_the_generated_plugin_imports_public_names_only(tmp_path: Path) -> None:
    """Code and tests."""
    package = write_plugin("acme", tmp_path)

    assert offences(package / "src", CONTRACTS) == []
    assert offences(package / "tests", FOR_TESTS) == []


def test_the_contracts_are_all_there() -> None:
    """The list names modules that exist, and the tests look at all plugins."""
    assert [module for module in sorted(CONTRACTS | FOR_TESTS) if not _is_module(module)] == []
    assert {path.parent.name for path in OURS} >= {"kafka", "rsmq", "memory", "msgpack"}
    assert [path.parent.name for path in STRANGERS] == ["penstock-nats"]


@pytest.mark.parametrize(
    "source",
    [
        "from penstock.queues import InputQueue",
        "import penstock.queues",
        "from penstock import queues",
        "from penstock.errors import _private",
        "def later():\n    from penstock.config.model import QueueConfig",
        "from importlib import import_module\nimport_module('penstock.codec')",
        "from penstock import errors\nerrors._private()",
        "import penstock.errors as e\ne._private",
        "import penstock.errors\npenstock.errors._private",
    ],
)
def test_every_way_to_a_private_name_is_seen(source: str, tmp_path: Path) -> None:
    """This test's own eyes."""
    (tmp_path / "plugin.py").write_text(source)

    assert offences(tmp_path, CONTRACTS) != []


def test_a_public_import_is_no_offence(tmp_path: Path) -> None:
    """However it is written."""
    (tmp_path / "plugin.py").write_text(
        "from penstock import errors\nfrom penstock.connectors import Consumer\nerrors.NotConnected\n"
        "import penstock_x._y"
    )

    assert offences(tmp_path, CONTRACTS) == []
