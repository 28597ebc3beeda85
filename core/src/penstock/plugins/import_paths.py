"""Imports the object at a path; its errors say which part of the path is wrong."""

from __future__ import annotations

import os
import pkgutil
import re
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from penstock.errors import PluginError
from penstock.plugins.hints import extra_for, nearest
from penstock.plugins.install_commands import install
from penstock.shadowing import hidden_library
from penstock.starting import importing

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_LONGEST_CAUSE = 300  # characters; a client's error can be a page


def describe(error: BaseException) -> str:
    """An exception in one line: its class and its text."""
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_CAUSE:
        text = text[:_LONGEST_CAUSE] + " …"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def resolve(path: str) -> Any:
    """Import what `path` names: "package.module:Name" or "package.module.Name".

    Raises:
        PluginError: which part does not exist, or what its import raised (chained).
    """
    module_name, colon, attributes = path.partition(":")
    if colon and _PATH.fullmatch(module_name) and _PATH.fullmatch(attributes):
        return _walk(_import(module_name), attributes.split("."))
    if not colon and _PATH.fullmatch(path) and "." in path:
        return _resolve_dotted(path.split("."))
    raise PluginError(f"{path!r} is not an import path; write 'package.module:Name'")


def _resolve_dotted(parts: list[str]) -> Any:
    """Import the first part, then read each further one as an attribute, or import it as a submodule."""
    found: Any = _import(parts[0])
    for done, part in enumerate(parts[1:], start=1):
        if isinstance(found, ModuleType) and part not in vars(found) and _has_submodule(found, part):
            found = _import(".".join(parts[: done + 1]))
        else:
            found = _walk(found, [part])
    if isinstance(found, ModuleType):
        raise PluginError(f"{'.'.join(parts)!r} is a module; write '{'.'.join(parts)}:Name'")
    return found


def _import(name: str) -> ModuleType:
    try:
        if (loaded := _loaded_already(name)) is not None:
            return loaded
        with importing():
            return import_module(name)
    except ModuleNotFoundError as error:
        # Either a part of the path is missing, or a module that the imported one needs.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise PluginError(_missing_module(error.name)) from error
        raise _import_failed(name, error) from error
    except KeyboardInterrupt:
        raise  # meant for the process
    except BaseException as error:
        raise _import_failed(name, error) from error


def _import_failed(name: str, error: BaseException) -> PluginError:
    hidden = f"; {sentence}" if (sentence := hidden_library(error)) else ""
    return PluginError(f"importing {name!r} raised {describe(error)}{_place(error)}{hidden}")


def _loaded_already(name: str) -> ModuleType | None:
    """The module of the same file that is loaded under another name, such as the program itself.

    Importing it again would make second classes of the same names, which are not the first ones.
    """
    try:
        found = find_spec(name)
    except ValueError:
        return None  # a module that was put into sys.modules by hand has no spec
    if found is None or found.origin is None or not found.has_location:
        return None
    names = ["__main__"] if name in sys.modules else ["__main__", *sys.modules]
    for module in [sys.modules.get(each) for each in names]:
        file = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(file, str) and os.path.abspath(file) == os.path.abspath(found.origin):
            return module
    return None


def _missing_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    if not parent:
        return f"there is no module {name!r}"
    if (extra := extra_for("module", name)) is not None:
        return f"{parent!r} has no module {last!r}; {install(extra)}"
    return f"{parent!r} has no module {last!r}{_did_you_mean(last, _submodules(import_module(parent)))}"


def _walk(found: Any, attributes: list[str]) -> Any:
    for attribute in attributes:
        try:
            found = getattr(found, attribute)
        except AttributeError as error:
            what = f"module {_name_of(found)}" if isinstance(found, ModuleType) else _name_of(found)
            if isinstance(found, ModuleType) and (extra := extra_for("module", f"{found.__name__}.{attribute}")):
                raise PluginError(f"{what} has no attribute {attribute!r}; {install(extra)}") from error
            names = [*_public(found), *_submodules(found)] if isinstance(found, ModuleType) else dir(found)
            raise PluginError(f"{what} has no attribute {attribute!r}{_did_you_mean(attribute, names)}") from error
        except KeyboardInterrupt:
            raise  # meant for the process
        except BaseException as error:  # a lazy attribute of a module may import
            raise PluginError(f"reading {attribute!r} of {_name_of(found)} raised {describe(error)}") from error
    return found


def _name_of(found: Any) -> str:
    # Of a module read `__name__` only: it may have a `__getattr__` of its own.
    return repr(
        found.__name__ if isinstance(found, ModuleType) else getattr(found, "__qualname__", type(found).__name__)
    )


def _submodules(module: ModuleType) -> list[str]:
    return [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", None) or [])]


def _public(module: ModuleType) -> list[str]:
    """The names that a configuration may mean: what a module imports from another one by `import` is none of them."""
    return [
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    ]


def _has_submodule(module: ModuleType, name: str) -> bool:
    return hasattr(module, "__path__") and find_spec(f"{module.__name__}.{name}") is not None


def _did_you_mean(wanted: str, names: list[str]) -> str:
    meant = nearest(wanted, [name for name in names if not name.startswith("__")])
    return f" (did you mean {meant!r}?)" if meant else ""


def _place(error: BaseException) -> str:
    """Where the user's own module failed, so that the line is known without a traceback."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        # Skip the frames of the import machinery and of this file.
        if "importlib" not in file and file != __file__:
            place = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return "" if isinstance(error, SyntaxError) else place
