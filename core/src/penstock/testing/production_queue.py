"""What a queue is in production, as its configuration and the installed plugins say. Imports no client library."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock.capabilities import Capabilities
from penstock.config.model import Configuration, QueueConfig
from penstock.errors import ConfigError, PluginError, UnknownNameError
from penstock.plugins import hints
from penstock.plugins.candidates import entries
from penstock.plugins.registry import Registry
from penstock.queues.adapters import takes_plain_data, undeclared_capabilities
from penstock.specs import ConnectorSpec, Profile

log = logging.getLogger("penstock")

LOCATION_KEYS = ("connector", "consumer", "producer", "config", "value")
"""Keys that only say where a queue is. A test does not need them."""

CARRIED = ("headers", "keys", "redelivery_count", "record_delay", "requeue_delay", "lease", "lag", "tombstones")
"""Capabilities that a fake connector has if both the real connector and `memory` have them."""

RAW: Mapping[str, Any] = {"serializer": None, "model_handler": None, "data_model": None}

WORDS: Mapping[str, Mapping[str, Any]] = {"dlq": RAW, "batch": {"batch": True}, "pydantic": {}, "orjson": {}}
"""The meaning of a further word in the name of one of our profiles. Any other word names a serializer."""

Profiles = Mapping[str, Mapping[str, Any]]
"""Profile → the keys of a queue that it sets."""


@dataclass(frozen=True, slots=True)
class ProductionQueue:
    """One queue in production.

    Attributes:
        backend: The connector's name, or the best guess. Two queues with the same backend and value are one queue.
        value: The queue's name in the backend.
        spec: Its connector; None if the plugin is not installed.
        settings: Its keys without those that say where it is. A profile that is not installed is replaced.
    """

    backend: str
    value: str
    spec: ConnectorSpec | None
    settings: Mapping[str, Any]


def look(configuration: Configuration, queue: QueueConfig, registry: Registry, profiles: Profiles) -> ProductionQueue:
    """Find out what one queue is in production.

    Args:
        configuration: The configuration that has the queue.
        queue: Its settings.
        registry: What is installed.
        profiles: The settings of profiles that are not installed.

    Raises:
        ConfigError: its profile is unknown.
    """
    unset = {fault.path[2] for fault in configuration.missing_variables.get(queue.name, ()) if len(fault.path) > 2}
    settings = {key: getattr(queue, key) for key in queue.model_fields_set if key not in LOCATION_KEYS}
    profile: Profile | None = None
    if queue.profile is not None and "profile" not in unset:
        try:
            profile = registry.profile(queue.profile)
        except UnknownNameError as error:
            presets = _presets(configuration, queue, registry, profiles, error)
            settings = {**presets, **settings, "profile": hints.EMBEDDED}
    spec = _spec(queue, profile, registry)
    named = queue.connector if isinstance(queue.connector, str) else None
    backend = spec.name if spec else named or hints.extra_for("profile", queue.profile or "") or queue.profile or ""
    value = queue.name if "value" in unset else queue.backend_name
    return ProductionQueue(backend, value, spec, settings)


def plain_data(own: Any, registry: Registry) -> bool | None:
    """Whether the user's own class for a producer, or the one at its path, takes plain data; see `takes_plain_data`."""
    found = _own_class(own, "producer", registry)
    return takes_plain_data(found) if isinstance(found, type) else None


def capabilities(queue: ProductionQueue, own: Any, side: str, registry: Registry, memory: Capabilities) -> Capabilities:
    """The capabilities of the fake for one side of a queue: those that the real connector and `memory` share.

    Args:
        queue: The queue.
        own: The user's own class for this side, or its path; None if the connector's class is used.
        side: "consumer" or "producer".
        registry: Imports paths.
        memory: The capabilities of `memory`, used alone if the real connector is unknown.
    """
    real = _declared(queue, own, side, registry)
    if real is None:
        return memory
    both = {name: getattr(real, name) and getattr(memory, name) for name in CARRIED}
    return replace(real, transactions=False, **both)


def _declared(queue: ProductionQueue, own: Any, side: str, registry: Registry) -> Capabilities | None:
    spec = queue.spec
    if own is None:
        return spec.capabilities if spec else None
    found = _own_class(own, side, registry)
    declared = getattr(found, "capabilities", None)
    if isinstance(declared, Capabilities):
        return declared
    bases = {f"{base.__module__}:{base.__qualname__}" for base in getattr(found, "__mro__", ())}
    if spec and getattr(spec, side) in bases:
        return spec.capabilities
    return undeclared_capabilities(found) if isinstance(found, type) else Capabilities()


def _own_class(own: Any, side: str, registry: Registry) -> Any:
    try:
        return registry.import_path(own, wanted_by=side) if isinstance(own, str) else own
    except PluginError:
        return None  # its client library need not be installed


def _spec(queue: QueueConfig, profile: Profile | None, registry: Registry) -> ConnectorSpec | None:
    name = profile.connector if queue.connector is None and profile else queue.connector
    if name is None or isinstance(name, ConnectorSpec):
        return name
    try:
        found = registry.import_path(name, wanted_by="connector") if registry.is_import_path(name) else None
        return found if isinstance(found, ConnectorSpec) else registry.connector(name)
    except PluginError:
        return None


def _presets(
    configuration: Configuration, queue: QueueConfig, registry: Registry, profiles: Profiles, error: UnknownNameError
) -> Mapping[str, Any]:
    """The settings of a profile that is not installed: from the test, or from the name of one of our profiles."""
    name = str(queue.profile)
    if name in profiles:
        return profiles[name]
    extra = hints.extra_for("profile", name)
    # If the plugin is installed, a profile that it does not offer is a mistake.
    missing = extra is not None and not entries(hints.distribution_of(extra))
    presets = _by_name(name, registry) if missing else None
    if presets is None:
        place = configuration.locations.of(("queues", queue.name, "profile")).exact
        raise ConfigError(
            f"queue {queue.name!r}{f' ({place})' if place else ''}: {error}. A harness needs the profile's "
            "settings, not its connector; install the plugin, or give them: "
            f"Harness(…, profiles={{{name!r}: {{'serializer': …}}}})"
        ) from error
    log.info("queue %r: profile %r is not installed; the harness derives its settings from its name", queue.name, name)
    return presets


def _by_name(name: str, registry: Registry) -> Mapping[str, Any] | None:
    presets: dict[str, Any] = {}
    for word in name.split("-")[1:]:
        if word in WORDS:
            presets |= WORDS[word]
            continue
        try:
            presets["serializer"] = registry.serializer(word).name
        except PluginError:
            return None
    return presets
