"""One plugin's fault is told with its name and its remedy, and takes no more away than it must."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.plugins.distributions import Distribution, install_only, offers_connector, plugin

from penstock.errors import PluginError
from penstock.plugins.registry import Registry

IMPORTS = """
from penstock.hookspecs import hookimpl
from penstock.specs import ConnectorSpec, SerializerSpec

PLUGIN_API = 1
"""
SPEC = "ConnectorSpec('acme', consumer='acme_client:C')"

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Make the process see the core and the given distributions only."""
    return lambda *distributions: install_only(monkeypatch, tmp_path, *distributions)


def _error() -> str:
    with pytest.raises(PluginError) as raised:
        Registry().connector("acme")
    assert type(raised.value) is PluginError
    return str(raised.value)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("return None", "returned None, not a list of ConnectorSpec"),
        (f"return {SPEC}", "returned a ConnectorSpec, not a list of ConnectorSpec"),
        (f"yield {SPEC}", "returned a generator, not a list of ConnectorSpec"),
        ("return 'acme'", "returned a str, not a list of ConnectorSpec"),
        ("return ['acme']", "returned a list with a str in it, not only ConnectorSpec"),
        (
            "return [SerializerSpec('acme', target='a:B')]",
            "returned a list with a SerializerSpec in it, not only ConnectorSpec",
        ),
        (f"return [{SPEC}, {SPEC}]", "offers 'acme' twice"),
        ("import sys; sys.exit(3)", "raised SystemExit: 3"),
        ("raise BaseException('panic')", "raised BaseException: panic"),
        ("raise GeneratorExit", "raised GeneratorExit"),
        (
            "return [ConnectorSpec('ACME', consumer='a:B')]",
            "raised PluginError: connector 'ACME': a name is of lower-case",
        ),
        (
            "return [ConnectorSpec('acme', consumer='no string')]",
            "raised PluginError: connector 'acme': consumer='no str",
        ),
        (
            "return [ConnectorSpec('acme')]",
            "raised PluginError: connector 'acme' has neither a consumer nor a producer",
        ),
    ],
)
def test_a_hook_that_returns_no_list_of_specs_is_told(body: str, fault: str, install: Install) -> None:
    """Whatever it returned or raised: plugin, distribution, hook and fault."""
    install(plugin("acme-queues", "acme", f"{IMPORTS}\n@hookimpl\ndef penstock_connectors():\n    {body}\n"))

    text = _error()

    assert text.startswith(
        f"connector 'acme': plugin 'acme' of acme-queues 1.0.0: its hook penstock_connectors {fault}"
    )
    assert text.endswith("; pip install --upgrade acme-queues, or tell its author")


def test_an_asynchronous_hook_is_told(install: Install) -> None:
    """It returns a coroutine, which is not a list; nothing complains later that it was never awaited."""
    install(plugin("acme-queues", "acme", f"{IMPORTS}\n@hookimpl\nasync def penstock_connectors(): return [{SPEC}]\n"))

    assert "its hook penstock_connectors returned a coroutine, not a list of ConnectorSpec" in _error()


def test_a_hook_that_wants_an_argument_we_do_not_have_is_told(install: Install) -> None:
    """pluggy refuses it when it is registered; the plugin may be for a newer core."""
    install(
        plugin("acme-queues", "acme", f"{IMPORTS}\n@hookimpl\ndef penstock_connectors(registry): return [{SPEC}]\n")
    )

    text = _error()

    assert text.startswith(
        "connector 'acme': plugin 'acme' of acme-queues 1.0.0: its hooks do not fit (PluginValidation"
    )
    assert "{'registry'}" in text


def test_one_bad_hook_leaves_the_others_alone(install: Install) -> None:
    """A plugin whose serializers hook raises still offers its connectors; the list shows both."""
    source = (
        f"{IMPORTS}\n@hookimpl\ndef penstock_connectors(): return [{SPEC}]\n"
        "@hookimpl\ndef penstock_serializers(): raise OSError('disk')\n"
    )
    install(plugin("acme-queues", "acme", source))
    registry = Registry()

    assert registry.connector("acme").name == "acme"
    with pytest.raises(PluginError, match="its hook penstock_serializers raised OSError: disk"):
        registry.serializer("acme")
    assert [(offer.kind, offer.state) for offer in registry.listing() if offer.distribution == "acme-queues"] == [
        ("plugin", "broken"),
        ("connector", "ok"),
    ]


def test_a_hook_marked_optional_may_be_unknown(install: Install) -> None:
    """A plugin for a newer core says which of its hooks an older one may ignore."""
    source = (
        f"{IMPORTS}\n@hookimpl\ndef penstock_connectors(): return [{SPEC}]\n"
        "@hookimpl(optionalhook=True)\ndef penstock_runners(): return []\n"
    )
    install(plugin("acme-queues", "acme", source))

    assert {offer.state for offer in Registry().listing()} == {"ok"}


def test_one_module_of_two_distributions_is_a_rivalry_and_no_crash(install: Install) -> None:
    """A fork that keeps the module's name claims the same names; pluggy would refuse to register it twice."""
    install(
        plugin("acme-queues", "acme", offers_connector("acme", "x")),
        Distribution("acme-fork", {}, {"acme": "acme_queues.plugin"}),
    )

    with pytest.raises(PluginError, match="write 'acme-fork:acme' or 'acme-queues:acme'"):
        Registry().connector("acme")


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        (
            "from penstock.specs import RunnerSpec",
            "it was not written for penstock-core 9.9; pip install --upgrade penstock-core ",
        ),
        (
            "import penstock.runners",
            "it was not written for penstock-core 9.9; pip install --upgrade penstock-core acme-queues",
        ),
        ("import acme_queues.gone", "; pip install --force-reinstall acme-queues"),
        ("import acmelib.api", "; install what it needs: pip install acme-queues"),
        ("1 / 0", "; pip install --upgrade acme-queues, or tell its author"),
        ("def (:", "; pip install --upgrade acme-queues, or tell its author"),
        ("raise RecursionError", "raised RecursionError; pip install --upgrade acme-queues, or tell its author"),
    ],
)
def test_the_remedy_fits_the_cause(source: str, remedy: str, install: Install) -> None:
    """A missing module of the core, of the plugin or of another distribution, and a plain bug: each has its command."""
    install(plugin("acme-queues", "acme", source))

    assert remedy in _error()


def test_an_entry_point_that_leads_nowhere_is_told(install: Install) -> None:
    """A module that is not in the distribution is a broken installation."""
    install(Distribution("acme-queues", {}, {"acme": "acme_nowhere.plugin"}))

    assert _error() == (
        "connector 'acme': plugin 'acme' of acme-queues 1.0.0 does not load: importing 'acme_nowhere.plugin' raised "
        "ModuleNotFoundError: No module named 'acme_nowhere'; pip install --force-reinstall acme-queues"
    )


@pytest.mark.parametrize("api", ["'1'", "1.0", "True", "None"])
def test_an_api_number_that_is_none_is_incompatible(api: str, install: Install) -> None:
    """Only the whole number counts: a value that only equals it, like True or 1.0, is rejected."""
    install(plugin("acme-queues", "acme", offers_connector("acme", "x").replace("API = 1", f"API = {api}")))

    assert "penstock-core 9.9 has PLUGIN_API 1" in _error()
    assert next(offer.state for offer in Registry().listing() if offer.distribution == "acme-queues") == "incompatible"


def test_the_hooks_of_an_incompatible_plugin_are_never_asked(install: Install) -> None:
    """It is reported, not half loaded."""
    source = (
        offers_connector("acme", "x").replace("API = 1", "API = 7").replace("return [", "raise OSError\n    return [")
    )
    install(plugin("acme-queues", "acme", source))

    assert _error() == (
        "connector 'acme': plugin 'acme' of acme-queues 1.0.0: it was built for PLUGIN_API 7; "
        "penstock-core 9.9 has PLUGIN_API 1; pip install --upgrade penstock-core"
    )


def test_a_long_cause_is_cut(install: Install) -> None:
    """An error stays a line, however much a library has to say."""
    install(plugin("acme-queues", "acme", "raise OSError('much\\n' * 1000)"))

    assert len(_error()) < 600
    assert "\n" not in _error()


def test_a_plugin_that_offers_nothing_is_listed(install: Install) -> None:
    """It is sound, and there: the list shows it."""
    install(plugin("acme-queues", "acme", "PLUGIN_API = 1"))

    offer = next(offer for offer in Registry().listing() if offer.distribution == "acme-queues")

    assert (offer.kind, offer.name, offer.state, offer.problem) == ("plugin", "acme", "ok", "")


def test_a_keyboard_interrupt_is_not_a_plugins_fault(install: Install) -> None:
    """Ctrl-C during an import ends the program, as everywhere."""
    install(plugin("acme-queues", "acme", "raise KeyboardInterrupt"))

    with pytest.raises(KeyboardInterrupt):
        Registry().connector("acme")
