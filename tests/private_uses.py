"""Reads a plugin's code, and tells what it takes of the core that is not public: by import, by attribute or by text.

Everything is read, nothing is imported. What a program composes at run time cannot be read: so that is refused as such.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.sources import CORE, KIT, modules

MODULES = modules(CORE) | modules(KIT / "src" / "penstock_kit")
_PRIVATE = re.compile(r"_[A-Za-z]\w*")  # not `_`, and no dunder
_PATH = re.compile(r"\bpenstock(?:_kit)?(?:\.[A-Za-z_]\w*)+")
_IMPORTERS = ("import_module", "__import__")


@dataclass(frozen=True)
class Use:
    """One thing that a file takes of the core.

    Attributes:
        line: Where.
        module: Of which module of the core; "" if that cannot be read.
        name: What of it; "" for the module itself.
    """

    line: int
    module: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.line}: {self.module}{self.name and '.' + self.name}"


def private_uses(folder: Path, public: set[str]) -> list[str]:
    """A line for each use of the core by the files of a folder that goes beyond these modules' public names."""
    trees = {path: ast.parse(path.read_text(), str(path)) for path in sorted(folder.rglob("*.py"))}
    own = {name for tree in trees.values() for name in _private_names(tree)}
    return [
        f"{path.relative_to(folder)}:{use}"
        for path, tree in trees.items()
        for use in [*_uses(tree), *_private_uses(tree, own)]
        if not _is_public(use, public)
    ]


def _is_public(use: Use, public: set[str]) -> bool:
    if use.module not in public:
        # `import penstock.errors` also names `penstock`, which is not an use of it.
        return not use.name and any(each.startswith(f"{use.module}.") for each in public)
    return not use.name or (not _PRIVATE.fullmatch(use.name) and use.name in _offered(use.module))


@cache
def _offered(module: str) -> frozenset[str]:
    """What a module of the core offers: `__all__` where there is one, else what it defines, not what it imports."""
    names: set[str] = set()
    for node in ast.parse(MODULES[module].read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return frozenset(ast.literal_eval(value))
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
    return frozenset(names)


def _uses(tree: ast.Module) -> Iterator[Use]:
    called: dict[str, str] = {}  # what the file calls a module of the core → its name
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for each in filter(lambda alias: _is_core(alias.name), names):
                    yield Use(node.lineno, each.name)
                    called[each.asname or each.name.partition(".")[0]] = (
                        each.name if each.asname else each.name.partition(".")[0]
                    )
            case ast.ImportFrom(module=str(module), names=names) if _is_core(module):
                for each in names:
                    inner = f"{module}.{each.name}"
                    yield Use(node.lineno, inner) if inner in MODULES else Use(node.lineno, module, each.name)
                    if inner in MODULES:
                        called[each.asname or each.name] = inner
    yield from _attributes(tree, called)
    yield from _texts(tree)


def _is_core(module: str) -> bool:
    return module.partition(".")[0] in ("penstock", "penstock_kit")


def _attributes(tree: ast.Module, called: Mapping[str, str]) -> Iterator[Use]:
    """What is reached through an imported module: `errors.x`, `penstock.queues.queue`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if first in called:
                yield _split(node.lineno, f"{called[first]}.{rest}")


def _split(line: int, path: str) -> Use:
    """A dotted path as a module and the first name after it."""
    parts = path.split(".")
    length = max(length for length in range(1, len(parts) + 1) if ".".join(parts[:length]) in MODULES)
    return Use(line, ".".join(parts[:length]), "".join(parts[length : length + 1]))


def _texts(tree: ast.Module) -> Iterator[Use]:
    """Modules that are named by a text, whatever is then done with it: imported, patched, looked up."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in prose:
                found = [_split(node.lineno, path) for path in _PATH.findall(text)]
                # "penstock.nats" is a logger's name, and no module.
                yield from (use for use in found if use.module != "penstock")
            case ast.Call(args=arguments, keywords=keywords) if _function(node) in _IMPORTERS:
                given = [*arguments, *(keyword.value for keyword in keywords)]
                if not given or not all(_is_absolute(each) for each in given):
                    yield Use(node.lineno, "", "a module that is composed at run time")


def _function(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_absolute(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.startswith(".")


def _private_uses(tree: ast.Module, own: set[str]) -> Iterator[Use]:
    """Private names of the core that the plugin itself does not define, as attributes of anything, or as texts."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name) | ast.Constant(value=str(name)):
                if name in private_names_of_the_core() - own:
                    yield Use(node.lineno, "", name)


@cache
def private_names_of_the_core() -> frozenset[str]:
    """Every name with an underscore that the core defines."""
    return frozenset(name for path in modules(CORE).values() for name in _private_names(ast.parse(path.read_text())))


def _private_names(tree: ast.Module) -> Iterator[str]:
    """Every name with an underscore that a module defines, at whatever depth."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                pass
            case _:
                continue
        if _PRIVATE.fullmatch(name):
            yield name
