"""Loads one plugin in isolation: an error in it disables that plugin only, and is reported with its name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import pluggy

from penstock import hookspecs, specs
from penstock.plugins import fixes, install_commands
from penstock.plugins.discovery import Entry, core_version
from penstock.plugins.hints import CORE, nearest
from penstock.plugins.import_paths import describe
from penstock.specs import Spec

State = Literal["ok", "broken", "incompatible", "blocked"]

_SPEC_OF_HOOK: Mapping[str, type[Spec]] = {
    "penstock_connectors": specs.ConnectorSpec,
    "penstock_serializers": specs.SerializerSpec,
    "penstock_model_handlers": specs.ModelHandlerSpec,
    "penstock_profiles": specs.Profile,
    "penstock_commands": specs.CommandSpec,
    "penstock_middleware": specs.MiddlewareSpec,
    "penstock_routes": specs.RouteSpec,
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point after its module was imported and its hooks were called, or why that failed.

    Attributes:
        specs: What it offers, without the specs of a hook that failed.
        state: "ok" if nothing is wrong with it.
        problems: One complete sentence a problem: plugin, distribution, version, cause, fix.
        cause: The first exception behind them, for chaining.
    """

    entry: Entry
    state: State = "ok"
    specs: tuple[Spec, ...] = ()
    problems: tuple[str, ...] = ()
    cause: BaseException | None = field(default=None, compare=False)


def load(entry: Entry) -> Plugin:
    """Import a plugin's module and call its hooks. Never raises what the plugin raises."""
    if entry.problem:
        return Plugin(entry, "broken", problems=(f"{entry}: {entry.problem}; {fixes.reinstall(entry)}",))
    try:
        module = _import(entry.module)
    except KeyboardInterrupt:
        raise  # meant for the process
    except BaseException as error:  # noqa: BLE001  (reported with the plugin's name)
        fix = fixes.after_import(entry, entry.module, error)
        problem = f"{entry} does not load: importing {entry.module!r} raised {describe(error)}; {fix}"
        return Plugin(entry, "broken", problems=(problem,), cause=error)
    incompatible = _api_problem(entry, module)
    if incompatible:
        return Plugin(entry, "incompatible", problems=(incompatible,))
    return _ask(entry, module)


def _import(value: str) -> Any:
    module, _, attributes = value.partition(":")
    found: Any = import_module(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        found = getattr(found, attribute)
    return found


def _api_problem(entry: Entry, module: Any) -> str:
    """Why a plugin was not written for this core, or ""."""
    ours, theirs = hookspecs.PLUGIN_API, getattr(module, "PLUGIN_API", None)
    if theirs == ours and type(theirs) is int:
        return ""
    core = f"{core_version()} has PLUGIN_API {ours}"
    if type(theirs) is not int:
        said = "does not say for which PLUGIN_API it was built" if theirs is None else f"has PLUGIN_API = {theirs!r}"
        return f"{entry}: {entry.module!r} {said}; {core}; {fixes.author(entry)}"
    outdated = CORE if theirs > ours else entry.distribution
    return f"{entry}: it was built for PLUGIN_API {theirs}; {core}; {install_commands.upgrade(outdated)}"


def _ask(entry: Entry, module: Any) -> Plugin:
    """Register one plugin and call all its hooks.

    Each plugin has a manager of its own: pluggy stops a call at the first implementation that raises, and keeps a
    plugin half registered after rejecting its signature.
    """
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=str(entry))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (reported with the plugin's name)
        problem = f"{entry}: its hooks do not fit ({describe(error)}); {fixes.author(entry)}"
        return Plugin(entry, "broken", problems=(problem,), cause=error)
    problems = list(_unknown_hooks(entry, module, manager))
    specs: list[Spec] = []
    cause: BaseException | None = None
    for hook, spec_type in _SPEC_OF_HOOK.items():
        try:
            specs += _specs(hook, spec_type, manager)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  (reported with the plugin's name)
            cause = cause or error
            what = str(error) if isinstance(error, _InvalidHookResult) else f"raised {describe(error)}"
            problems.append(f"{entry}: its hook {hook} {what}; {fixes.author(entry)}")
    return Plugin(entry, "broken" if problems else "ok", tuple(specs), tuple(problems), cause)


class _InvalidHookResult(Exception):
    """A hook did not return a list of specs; the text continues "its hook penstock_connectors"."""


def _specs(hook: str, spec_type: type[Spec], manager: pluggy.PluginManager) -> list[Spec]:
    caller = getattr(manager.hook, hook)
    results = caller()
    if not results and caller.get_hookimpls():
        raise _InvalidHookResult(f"returned None, not a list of {spec_type.__name__}")
    specs: list[Spec] = []
    for result in results:
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that it was never awaited
        if not isinstance(result, list | tuple):
            raise _InvalidHookResult(f"returned a {type(result).__name__}, not a list of {spec_type.__name__}")
        specs += result
    for spec in specs:
        if not isinstance(spec, spec_type):
            raise _InvalidHookResult(
                f"returned a list with a {type(spec).__name__} in it, not only {spec_type.__name__}"
            )
    names = [spec.name for spec in specs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise _InvalidHookResult(f"offers {twice!r} twice")
    return specs


def _unknown_hooks(entry: Entry, module: Any, manager: pluggy.PluginManager) -> Iterator[str]:
    """Hooks that the core never calls: misspelt, of a newer core, or without the marker."""
    known = [name for name in vars(hookspecs) if name.startswith(f"{hookspecs.GROUP}_")]
    asked = {hook.name for hook in manager.get_hookcallers(module) or ()}
    for hook in sorted(asked - set(known)):
        implementation = next(iter(getattr(manager.hook, hook).get_hookimpls()))
        if not implementation.optionalhook:
            meant = nearest(hook, known)
            hint = f" (did you mean {meant!r}?)" if meant else ""
            yield f"{entry}: it implements {hook!r}, which is not a hook{hint}; {fixes.author(entry)}"
    for hook in known:
        if hook not in asked and inspect.isroutine(getattr(module, hook, None)):
            yield f"{entry}: its {hook} is not marked with @hookimpl; {fixes.author(entry)}"
