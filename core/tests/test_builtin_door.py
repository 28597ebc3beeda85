"""The core's own json and pydantic have no door of their own."""

from __future__ import annotations

import ast
from pathlib import Path

import penstock
from penstock.plugins.discovery import scan
from penstock.plugins.registry import Registry

CORE = Path(penstock.__file__).parent


def _imports(file: Path) -> set[str]:
    """Every module that a file imports, at whatever depth, and every text that could be imported by name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def test_no_module_of_the_core_imports_the_built_ins() -> None:
    """Outside of `builtin/` no module names them: the entry point is the only way in."""
    importers = [
        file.relative_to(CORE).as_posix()
        for file in CORE.rglob("*.py")
        if file.parent.name != "builtin" and any(name.startswith("penstock.builtin") for name in _imports(file))
    ]

    assert importers == []


def test_the_built_ins_are_an_entry_point_like_any_other() -> None:
    """One entry point of the distribution `penstock`, found by the same scan."""
    assert [(entry.name, entry.module) for entry in scan() if entry.distribution == "penstock-core"] == [
        ("builtin", "penstock.builtin.plugin")
    ]


def test_the_built_ins_are_found_and_loaded_by_name() -> None:
    """`json` and `pydantic` are what a config gets by these names."""
    registry = Registry(allow=[])
    json, pydantic = registry.serializer("json"), registry.model_handler("pydantic")

    loaded = [registry.load(spec, spec.target).__name__ for spec in (json, pydantic)]

    assert loaded == ["JsonSerializer", "PydanticModelHandler"]
