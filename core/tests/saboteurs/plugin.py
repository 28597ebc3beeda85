"""The plugin: the sound connector and all saboteurs, each by its name."""

from __future__ import annotations

from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec
from saboteurs.cast import CAST, SOUND, SOUND_BY_KEY

PLUGIN_API = 1


@hookimpl
def penstock_connectors() -> list[ConnectorSpec]:
    """`saboteurs.sound`, and the others."""
    return [each.spec() for each in {each.name: each for each in (SOUND, SOUND_BY_KEY, *CAST)}.values()]
