"""Configures Python's `logging` from a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.config.sources import parse
from penstock.errors import ConfigError
from penstock.known_secrets import hide

_INI = (".ini", ".cfg", ".conf")


def apply(path: str) -> None:
    """Configure `logging` from a file: a mapping for `dictConfig` in YAML, TOML or JSON, or an ini for `fileConfig`.

    Loggers that exist already stay enabled, unless the file says otherwise.

    Raises:
        ConfigError: it cannot be read, or `logging` rejects it.
    """
    # Here, because it imports socketserver, which few workers need.
    import logging.config

    file = Path(path)
    try:
        if file.suffix.lower() in _INI:
            with file.open(encoding="utf-8") as opened:
                logging.config.fileConfig(opened, disable_existing_loggers=False)
            return
        values = _mapping(file)
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **values})
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"log configuration {path}: cannot be read: {error.strerror}") from None
    # Whatever a handler's or formatter's class raises: the file names any.
    except Exception as error:
        reasons = [str(each) or type(each).__name__ for each in (error, error.__cause__) if each is not None]
        raise ConfigError(hide(f"log configuration {path}: {': '.join(dict.fromkeys(reasons))}")) from error


def _mapping(file: Path) -> Mapping[str, Any]:
    if file.suffix.lower() == ".json":
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"log configuration {file}: is not well-formed JSON: {error}") from None
    elif file.suffix.lower() in (".yml", ".yaml", ".toml"):
        parsed = parse(file)
        if parsed.problems:
            raise ConfigError(*(f"log configuration {file}: {problem.text}" for problem in parsed.problems))
        values = parsed.values
    else:
        raise ConfigError(f"log configuration {file}: let its name end in .yml, .toml, .json or .ini")
    if not isinstance(values, Mapping):
        raise ConfigError(f"log configuration {file}: must be a mapping as `logging.config.dictConfig` takes it")
    return values
