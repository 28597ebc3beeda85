"""The plugin: the reference connector and all mutants, each by its name."""

from __future__ import annotations

from mutants.catalogue import MUTANTS, REFERENCE, REFERENCE_BY_KEY
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> list[ConnectorSpec]:
    """`mutants.reference`, and the others."""
    return [each.spec() for each in {each.name: each for each in (REFERENCE, REFERENCE_BY_KEY, *MUTANTS)}.values()]
