"""Reads the workspace's own source code: which modules there are, and what each imports."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CORE = ROOT / "core" / "src" / "penstock"
KIT = ROOT / "kit"
PLUGINS = [path.parent for path in sorted(ROOT.glob("plugins/*/pyproject.toml"))]
PYPROJECTS = [path / "pyproject.toml" for path in (ROOT / "core", KIT, *PLUGINS)]


@dataclass(frozen=True)
class Import:
    """One imported name.

    Attributes:
        module: Where it is imported from.
        name: What; empty for `import module`.
        line: Where that is written.
        lazy: Inside a function, so that it happens on first use.
        typing: Under `if TYPE_CHECKING`, so that it never happens.
    """

    module: str
    name: str
    line: int
    lazy: bool = False
    typing: bool = False


def imports(source: str) -> list[Import]:
    """Everything that a module imports, wherever it stands.

    Raises:
        ValueError: an import is relative, which says less than it should to a reader.
    """
    return list(_imports(ast.parse(source), lazy=False, typing=False))


def _imports(node: ast.AST, *, lazy: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                yield from (Import(each.name, "", child.lineno, lazy, typing) for each in child.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield from (Import(module, each.name, child.lineno, lazy, typing) for each in child.names)
            case ast.ImportFrom():
                raise ValueError(f"line {child.lineno}: a relative import; write the full name")
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _imports(child, lazy=lazy, typing=True)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(child, lazy=True, typing=typing)
            case _:
                yield from _imports(child, lazy=lazy, typing=typing)


def strings(source: str) -> Iterator[tuple[int, str]]:
    """The text constants of a module with their lines; docstrings, which may give examples, left out."""
    tree = ast.parse(source)
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose:
            yield node.lineno, node.value


def attributes(source: str) -> dict[str, set[str]]:
    """The classes of a module, and what their methods assign to `self` or their `__slots__` name.

    Annotations in the class do not count, so a model of pure data has none. Nor do those of a parent.
    """
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return {node.name: set(_attributes(node)) for node in classes}


def _attributes(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef():
                continue
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                names = ast.literal_eval(value)
                yield from [names] if isinstance(names, str) else names
        yield from _attributes(child)


def modules(folder: Path) -> dict[str, Path]:
    """The modules below the parent of a package's folder, by their full names; packages by the name of the folder."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def packages() -> list[Path]:
    """The folder of each distribution's package."""
    return [next(path.parent.glob("src/*/__init__.py")).parent for path in PYPROJECTS]


def project(pyproject: Path) -> dict[str, Any]:
    """A distribution's `[project]` table."""
    table: dict[str, Any] = tomllib.loads(pyproject.read_text())["project"]
    return table
