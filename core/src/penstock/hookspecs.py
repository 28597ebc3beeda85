"""The hooks that a plugin may implement. Each is called once, before any client library is imported.

A plugin is a distribution with one entry point in the group `penstock`:

    [project.entry-points.penstock]
    acme = "penstock_acme.plugin"

The module that it names has the version of this contract for which it was written, and implements hooks:

    from penstock.hookspecs import hookimpl
    from penstock.specs import ConnectorSpec

    PLUGIN_API = 1

    @hookimpl
    def penstock_connectors():
        return [ConnectorSpec("acme", consumer="penstock_acme.consumer:AcmeConsumer")]

pluggy is used for discovery and start-up only: a hook call costs 27 times a method call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from penstock.specs import (
        CommandSpec,
        ConnectorSpec,
        MiddlewareSpec,
        ModelHandlerSpec,
        Profile,
        RouteSpec,
        SerializerSpec,
    )

PLUGIN_API = 1
"""Raised when this module changes so that older plugins cannot work. A plugin has the number it was built for."""

GROUP = "penstock"
"""The entry-point group, and pluggy's project name."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def penstock_connectors() -> Sequence[ConnectorSpec]:  # type: ignore[empty-body]
    """Connectors, for `connector:`."""


@hookspec
def penstock_serializers() -> Sequence[SerializerSpec]:  # type: ignore[empty-body]
    """Serializers, for `serializer:`."""


@hookspec
def penstock_model_handlers() -> Sequence[ModelHandlerSpec]:  # type: ignore[empty-body]
    """Model handlers, for `model_handler:`."""


@hookspec
def penstock_profiles() -> Sequence[Profile]:  # type: ignore[empty-body]
    """Profiles, for `profile:`."""


@hookspec
def penstock_commands() -> Sequence[CommandSpec]:  # type: ignore[empty-body]
    """Commands, for `penstock NAME`; the core's own come first."""


@hookspec
def penstock_middleware() -> Sequence[MiddlewareSpec]:  # type: ignore[empty-body]
    """Middleware, for `engine.middleware`."""


@hookspec
def penstock_routes() -> Sequence[RouteSpec]:  # type: ignore[empty-body]
    """Routes of a worker's port, for `worker.routes`."""
