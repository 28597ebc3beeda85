"""The exit codes of `penstock`."""

from __future__ import annotations

from penstock.errors import ConfigError, FunctionError, PenstockError, PluginError

FAILED = 1
WRONG = 2
NOT_DRAINED = 3  # a drain was stopped before its end
ABORTED = 130  # stopped by a second signal; a command other than `run` by the first


def exit_code(error: PenstockError) -> int:
    """The exit code for an error that ends a command."""
    return WRONG if isinstance(error, ConfigError | PluginError | FunctionError) else FAILED
