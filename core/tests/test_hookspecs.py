"""The page that a plugin's author reads: what may be implemented, and how it is checked."""

from __future__ import annotations

import inspect
import types

import pluggy
import pytest

from penstock import hookspecs, specs
from penstock.hookspecs import GROUP, PLUGIN_API, hookimpl

HOOKS = [
    "penstock_connectors",
    "penstock_serializers",
    "penstock_model_handlers",
    "penstock_profiles",
    "penstock_commands",
    "penstock_middleware",
    "penstock_routes",
]


def manager() -> pluggy.PluginManager:
    """One that knows the hooks."""
    made = pluggy.PluginManager(GROUP)
    made.add_hookspecs(hookspecs)
    return made


def test_these_are_all_the_hooks_there_are() -> None:
    """A hook more or less is a new version of the page."""
    declared = [name for name, value in vars(hookspecs).items() if hasattr(value, f"{GROUP}_spec")]

    assert declared == HOOKS
    assert PLUGIN_API == 1


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_takes_nothing_and_says_what_it_offers(name: str) -> None:
    """Asked once, before any client is imported: there is nothing that it could be given."""
    hook = getattr(hookspecs, name)

    assert inspect.signature(hook).parameters == {}
    assert hook.__doc__


def test_each_kind_of_spec_has_its_hook() -> None:
    """What can be described can be offered."""
    kinds = {spec.kind for spec in specs.Spec.__args__}  # type: ignore[attr-defined]

    assert {f"penstock_{kind}s" for kind in kinds - {"middleware"}} | {"penstock_middleware"} == set(HOOKS)


def test_a_module_with_a_marked_function_is_a_plugin() -> None:
    """The example on the page, as pluggy sees it."""
    plugin = types.ModuleType("penstock_acme.plugin")

    @hookimpl
    def penstock_connectors() -> list[specs.ConnectorSpec]:
        return [specs.ConnectorSpec("acme", consumer="penstock_acme.consumer:AcmeConsumer")]

    plugin.penstock_connectors = penstock_connectors  # type: ignore[attr-defined]
    made = manager()
    made.register(plugin)
    made.check_pending()

    assert [spec.name for offered in made.hook.penstock_connectors() for spec in offered] == ["acme"]
    assert made.hook.penstock_serializers() == []


def test_an_undeclared_hook_is_reported() -> None:
    """A misspelt hook would otherwise never be called, without a reason."""
    plugin = types.ModuleType("penstock_acme.plugin")

    @hookimpl
    def penstock_conectors() -> list[specs.ConnectorSpec]:
        return []

    plugin.penstock_conectors = penstock_conectors  # type: ignore[attr-defined]
    made = manager()
    made.register(plugin)

    with pytest.raises(pluggy.PluginValidationError, match="penstock_conectors"):
        made.check_pending()


def test_a_hook_that_wants_arguments_is_refused_at_the_door() -> None:
    """When it is registered, not when it is first asked."""
    plugin = types.ModuleType("penstock_acme.plugin")

    @hookimpl
    def penstock_profiles(config: object) -> list[specs.Profile]:
        return []

    plugin.penstock_profiles = penstock_profiles  # type: ignore[attr-defined]

    with pytest.raises(pluggy.PluginValidationError, match="config"):
        manager().register(plugin)
