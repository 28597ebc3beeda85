"""Finds the spec for a name in a configuration, and the object for an import string."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any, cast

from penstock.errors import DuplicateNameError, PluginError, UnknownNameError
from penstock.plugins import explain, fixes, hints, import_paths
from penstock.plugins.candidates import Candidate, Candidates, entries
from penstock.plugins.listing import ListedName, listing
from penstock.plugins.policy import Policy
from penstock.specs import (
    CommandSpec,
    ConnectorSpec,
    MiddlewareSpec,
    ModelHandlerSpec,
    Profile,
    RouteSpec,
    SerializerSpec,
    Spec,
)

__all__ = ["ListedName", "Registry"]


class Registry:
    """What is installed, by name. Scans the metadata on first use, and loads only plugins that may offer a wanted name.

    Args:
        allow: Distributions or entry points that may be loaded, None for all; the core's own always may.
        block: Distributions or entry points that must not be loaded.
        allow_import_paths: Whether a config may name classes by import path.

    The environment narrows both lists further: `PENSTOCK_PLUGINS_ALLOW`, `PENSTOCK_PLUGINS_BLOCK`, comma-separated.
    """

    def __init__(
        self, *, allow: Collection[str] | None = None, block: Collection[str] = (), allow_import_paths: bool = True
    ) -> None:
        self.allow_import_paths = allow_import_paths
        self._candidates = Candidates(Policy(allow, block, os.environ))
        self._found: dict[tuple[str, str], Candidate] = {}

    def connector(self, name: str) -> ConnectorSpec:
        """The connector `name`, which may be written `distribution:name`.

        Raises:
            UnknownNameError: nothing installed offers it; the text says what to install or what was probably meant.
            DuplicateNameError: several distributions offer it; the text names them.
            PluginError: the plugin that should offer it does not load, does not fit, or is blocked.
        """
        return cast(ConnectorSpec, self._find("connector", name))

    def serializer(self, name: str) -> SerializerSpec:
        """The serializer `name`; see `connector`."""
        return cast(SerializerSpec, self._find("serializer", name))

    def model_handler(self, name: str) -> ModelHandlerSpec:
        """The model handler `name`; see `connector`."""
        return cast(ModelHandlerSpec, self._find("model_handler", name))

    def profile(self, name: str) -> Profile:
        """The profile `name`; see `connector`."""
        return cast(Profile, self._find("profile", name))

    def command(self, name: str) -> CommandSpec:
        """The command `name` of a plugin; see `connector`."""
        return cast(CommandSpec, self._find("command", name))

    def middleware(self, name: str) -> MiddlewareSpec:
        """The middleware `name`; see `connector`."""
        return cast(MiddlewareSpec, self._find("middleware", name))

    def route(self, name: str) -> RouteSpec:
        """The route `name`; see `connector`."""
        return cast(RouteSpec, self._find("route", name))

    def plugin_of(self, kind: str, name: str) -> str:
        """The module of the plugin that offers a name of a kind; see `connector`."""
        self._find(kind, name)
        return self._found[kind, name].plugin.entry.module

    def names(self, kind: str) -> Sequence[str]:
        """The names of a kind that a config can use, sorted. Loads every plugin."""
        return sorted({listed.name for listed in self.listing() if listed.kind == kind and listed.state == "ok"})

    def listing(self) -> Sequence[ListedName]:
        """Everything that is installed and what is wrong with it. Loads every plugin, and no client library."""
        return [listed for listed, _candidate in listing(self._candidates)]

    def check(self) -> Sequence[ListedName]:
        """`listing`, after importing everything that the specs name, client libraries too."""
        # Here, because it imports pydantic, which takes longer than the rest of a listing.
        from penstock.plugins.check import after_import

        return [
            after_import(listed, candidate.spec, self.load) if candidate is not None else listed
            for listed, candidate in listing(self._candidates)
        ]

    def _find(self, kind: str, wanted: str) -> Spec:
        if (kind, wanted) not in self._found:
            self._found[kind, wanted] = self._look_up(kind, wanted)
        return self._found[kind, wanted].spec

    def _look_up(self, kind: str, wanted: str) -> Candidate:
        before, colon, after = wanted.partition(":")
        distribution, name = (before, after) if colon else (None, wanted)
        candidates = self._candidates.of(kind, name, distribution)
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise DuplicateNameError(explain.conflict(candidates))
        failed = explain.failure(self._candidates, kind, name, distribution)
        if failed is not None:
            raise PluginError(f"{explain.words(kind)} {wanted!r}: " + "\n".join(failed.problems)) from failed.cause
        raise UnknownNameError(explain.unknown(self._candidates, kind, name, distribution))

    def load(self, spec: Spec, import_string: str) -> Any:
        """Import what one of a spec's import strings names.

        Raises:
            PluginError: it cannot be imported; names distribution, version, module, cause and fix.
        """
        what = f"{explain.words(spec.kind)} {spec.name!r}"
        try:
            return import_paths.resolve(import_string)
        except PluginError as error:
            entry = self._candidates.owner(spec)
            if entry is None:
                raise PluginError(f"{what}: {import_string!r} cannot be imported: {error}") from error.__cause__
            what = f"{what} of {entry.distribution} {entry.version}: {import_string!r} cannot be imported"
            fix = fixes.after_import(entry, import_string, error.__cause__)
            raise PluginError(f"{what}: {error}; {fix}") from error.__cause__

    def import_path(self, path: str, *, wanted_by: str) -> Any:
        """Import what a config names by path: "package.module:Name" or "package.module.Name".

        Args:
            path: The path; importing it runs code.
            wanted_by: The place in the config, for errors ("queue 'orders': data_model").

        Raises:
            PluginError: import paths are turned off, or this one leads nowhere; says which part, and what is near.
        """
        if not self.allow_import_paths:
            raise PluginError(
                f"{wanted_by}: {path!r} is an import path, and these are turned off "
                "(plugins.allow_import_paths: false); write the name of an installed plugin's offer, or turn them on"
            )
        try:
            return import_paths.resolve(path)
        except PluginError as error:
            raise PluginError(f"{wanted_by}: {path!r} cannot be imported: {error}") from error.__cause__

    def is_import_path(self, text: str) -> bool:
        """Whether `text`, in a place for a name or an import path, is an import path. Imports nothing.

        "a:B" is one unless `a` is a distribution with plugins, or cannot be a module. "a.b" is one unless `a` is the
        entry point of a plugin, or a name that one of our own distributions would bring.
        """
        before, colon, _after = text.partition(":")
        if colon:
            return not entries(before) and before.replace(".", "_").isidentifier()
        stem, dot, _rest = text.partition(".")
        if not dot or text != text.lower():  # a name is in lower case, a class seldom is
            return bool(dot)
        return all(entry.name != stem for entry in entries()) and not hints.is_ours(stem)
