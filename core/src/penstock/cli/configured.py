"""Reads the configuration that a command names."""

from __future__ import annotations

import os
import sys

from penstock.config.files import load
from penstock.config.model import Configuration


def configuration_of(path: str) -> Configuration:
    """A file's configuration. The working folder joins Python's path, because a class named in it is the program's.

    Raises:
        ConfigError: with every problem of the file.
    """
    configuration = load(path)
    if configuration.plugins.allow_import_paths and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return configuration
