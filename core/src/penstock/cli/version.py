"""`penstock version`: prints the version, as `penstock --version` does."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from penstock.version import __version__


def configure(parser: ArgumentParser) -> None:
    """Nothing to add: there are no arguments."""


def run(_arguments: Namespace) -> int:
    """Print it."""
    print(f"penstock {__version__}")
    return 0
