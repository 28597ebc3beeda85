"""What is installed, by name, for tools. Importing a plugin imports no client library."""

from __future__ import annotations

from typing import Any

from penstock.plugins.hints import extra_for, is_ours
from penstock.plugins.install_commands import install
from penstock.plugins.registry import Registry
from penstock.specs import ConnectorSpec

KINDS = ("connector", "serializer", "model_handler", "profile")
"""Kinds of names that a configuration may use."""


def find_connector(name: str) -> ConnectorSpec:
    """The connector that a configuration would find by this name.

    Raises:
        PluginError: it is unknown, offered twice, or its plugin does not load. The text says what to do.
    """
    return Registry().connector(name)


def options_model(spec: ConnectorSpec) -> type[Any] | None:
    """The model of a connector's options; None for a connector without one.

    Raises:
        PluginError: it cannot be imported.
    """
    model: type[Any] | None = None if spec.options is None else Registry().load(spec, spec.options)
    return model


def plugin_of(name: str) -> str:
    """The module of the plugin that offers a connector ("penstock_kafka.plugin").

    Raises:
        PluginError: as of `find_connector`.
    """
    return Registry().plugin_of("connector", name)


def owner_of(name: str) -> str | None:
    """Words for the distribution that a name belongs to, installed or one of ours; None if the name is free."""
    ours = next((extra for kind in KINDS if (extra := extra_for(kind, name))), None) if is_ours(name) else None
    if ours is not None:
        return f"the plugin that `{install(ours)}` installs"
    found = next((offer for offer in Registry().listing() if offer.name == name), None)
    return None if found is None else f"{found.distribution} {found.version}, which is installed here"
