"""Finds the engines that a command line names: a file, a module, or `module:attribute`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from penstock.cli.import_hints import import_hint
from penstock.cli.trace import own_trace
from penstock.engine import Engine
from penstock.errors import ConfigError, PenstockError
from penstock.pipeline.stream_app import StreamApp
from penstock.starting import importing

log = logging.getLogger("penstock")

CONFIGURATIONS = (".yml", ".yaml", ".toml", ".json")


def find_engines(names: Sequence[str]) -> list[Engine]:
    """All engines of all apps, each once.

    Raises:
        ConfigError: an app does not exist, cannot be imported, or holds no engine.
    """
    engines: dict[int, Engine] = {}
    for name in names:
        found = _engines_of(name)
        engines |= {id(engine): engine for engine in found}
    return list(engines.values())


def _engines_of(name: str) -> list[Engine]:
    place, colon, attribute = name.rpartition(":")
    if not colon or attribute.endswith(".py") or "/" in attribute or "\\" in attribute:  # the colon of a Windows drive
        place, colon, attribute = name, "", ""
    module = _imported(place, name)
    if not colon:
        return _in_module(module, name)
    if not hasattr(module, attribute):
        raise ConfigError(f"app {name!r}: {place} has no {attribute!r}; name an Engine or a function with @stream_app")
    value = getattr(module, attribute)
    engine = _engine(value)
    if engine is None:
        raise ConfigError(
            f"app {name!r}: {attribute!r} of {place} is of type {type(value).__name__}, not an Engine or a function "
            f"with @stream_app"
        )
    return [engine]


def _imported(place: str, app: str) -> ModuleType:
    try:
        with importing():
            return _load_file(Path(place), app) if place.endswith(".py") else _load_module(place, app)
    except (PenstockError, KeyboardInterrupt, SystemExit):
        raise  # Penstock's errors explain themselves; the others end the process
    except BaseException as error:  # whatever the app's own code raises while it is imported
        advice = f"\n  {hint}" if (hint := import_hint(error, place)) else ""
        raise ConfigError(f"app {app!r} cannot be imported: {own_trace(error)}{advice}") from error


def _load_file(path: Path, app: str) -> ModuleType:
    if not path.is_file():
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise ConfigError(f"app {app!r}: there is no such file{where}")
    _first_on_path(path.parent)
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    # Under its own name, so that apps beside it can import it, unless another module has that name.
    name = path.stem if known is None else f"penstock_app_{len(sys.modules)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"app {app!r}: it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # as an import does: half a module would be found by the next one
        raise
    return module


def _load_module(module_name: str, name: str) -> ModuleType:
    if Path(module_name).suffix in CONFIGURATIONS:
        raise ConfigError(
            f"app {name!r}: a configuration is not an app; name the file with the Engine, and the configuration after "
            f"--config: penstock run app.py --config {name}"
        )
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(
            f"app {name!r}: {module_name!r} is neither a file, whose name ends in .py, nor a module; write app.py, "
            f"package.module, or either with :attribute"
        )
    _first_on_path(Path())
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise  # the app exists, a module that it imports does not
        raise ConfigError(f"app {name!r}: there is no module {error.name!r}; a file is named with its .py") from error


def _first_on_path(folder: Path) -> None:
    # Like `python app.py`, so that the app and its configuration find the modules beside it.
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)


def _in_module(module: ModuleType, name: str) -> list[Engine]:
    engines = [engine for value in vars(module).values() if (engine := _engine(value)) is not None]
    for value in vars(module).values():
        _warn_of_decorator_above(value)
    if not engines:
        raise ConfigError(f"app {name!r}: it holds no Engine; make one at the top of the module")
    return engines


def _engine(value: Any) -> Engine | None:
    if isinstance(value, StreamApp):
        return value.engine
    return value if isinstance(value, Engine) else None


def _warn_of_decorator_above(value: Any) -> None:
    if isinstance(value, StreamApp) or not inspect.isfunction(value):
        return
    inner = inspect.unwrap(value, stop=lambda each: isinstance(each, StreamApp))
    if isinstance(inner, StreamApp):
        log.warning("%s: a decorator stands above @app.stream_app, and the engine calls the function without it; put "
                    "@app.stream_app on top", value.__qualname__)  # fmt: skip
