"""The exact errors of broken plugins, which leave other plugins alone."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.plugins.conftest import LookUp, Run
from tests.sources import ROOT

# {plugin} is "connector 'x': plugin 'x' of penstock-x 1.0.0".
ERRORS = {
    "raises": (
        "PluginError",
        "{plugin} does not load: importing 'penstock_raises.plugin' "
        "raised RuntimeError: no such planet; pip install --upgrade penstock-raises, or tell its author",
    ),
    "needy": (
        "PluginError",
        "{plugin} does not load: importing 'penstock_needy.plugin' raised "
        "ModuleNotFoundError: No module named 'needed_module'; install what it needs: pip install penstock-needy",
    ),
    "leaves": (
        "PluginError",
        "{plugin} does not load: importing 'penstock_leaves.plugin' "
        "raised SystemExit: this plugin has had enough; pip install --upgrade penstock-leaves, or tell its author",
    ),
    "future": (
        "PluginError",
        "{plugin}: it was built for PLUGIN_API 2; penstock-core {core} has PLUGIN_API 1; "
        "pip install --upgrade {source}",
    ),
    "past": (
        "PluginError",
        "{plugin}: it was built for PLUGIN_API 0; "
        "penstock-core {core} has PLUGIN_API 1; pip install --upgrade penstock-past",
    ),
    "silent": (
        "PluginError",
        "{plugin}: 'penstock_silent.plugin' does not say for which "
        "PLUGIN_API it was built; penstock-core {core} has PLUGIN_API 1; pip install --upgrade penstock-silent, "
        "or tell its author",
    ),
    "misspelt": (
        "PluginError",
        "{plugin}: it implements 'penstock_conectors', which is "
        "not a hook (did you mean 'penstock_connectors'?); pip install --upgrade penstock-misspelt, or tell its author",
    ),
    "unmarked": (
        "PluginError",
        "{plugin}: its penstock_connectors is not marked with "
        "@hookimpl; pip install --upgrade penstock-unmarked, or tell its author",
    ),
    "hook-raises": (
        "PluginError",
        "{plugin}: its hook penstock_connectors raised "
        "KeyError: 'region'; pip install --upgrade penstock-hook-raises, or tell its author",
    ),
    "no-list": (
        "PluginError",
        "{plugin}: its hook penstock_connectors returned a "
        "ConnectorSpec, not a list of ConnectorSpec; pip install --upgrade penstock-no-list, or tell its author",
    ),
    "twin": (
        "DuplicateNameError",
        "connector 'twin' is offered by plugin 'twin-a' of acme-twin 1.0.0 and plugin 'twin-b' of other-twin 2.0; "
        "write 'acme-twin:twin' or 'other-twin:twin'",
    ),
    "clientless": (
        "PluginError",
        "connector 'clientless' of penstock-clientless 1.0.0: 'penstock_clientless.connector:Consumer' cannot be "
        "imported: importing 'penstock_clientless.connector' raised ModuleNotFoundError: No module named "
        "'client_that_is_not_installed' ({sample_plugins}/penstock_clientless/connector.py, line 1); "
        "install what it needs: pip install penstock-clientless",
    ),
    "absent-class": (
        "PluginError",
        "connector 'absent-class' of penstock-absent-class 1.0.0: 'penstock_absent_class.connector:Consumer' cannot be "
        "imported: module 'penstock_absent_class.connector' has no attribute 'Consumer' (did you mean 'Consumers'?); "
        "pip install --upgrade penstock-absent-class, or tell its author",
    ),
    "penstock-twin:twin": (
        "UnknownNameError",
        "connector 'penstock-twin:twin': no distribution 'penstock-twin' with a plugin is installed; "
        "write 'acme-twin:twin' or 'other-twin:twin'",
    ),
    "penstock-sound:soudn": (
        "UnknownNameError",
        "connector 'penstock-sound:soudn': penstock-sound offers none of this name; did you mean 'sound'?",
    ),
    "soudn": (
        "UnknownNameError",
        "connector 'soudn': nothing that is installed offers one of this name; did you mean 'sound'?",
    ),
}


@pytest.fixture(scope="module")
def answers(sample_plugins: Path, look_up: LookUp) -> dict[str, tuple[str, str]]:
    """What a config that names each of them would get, all asked in one process, one after the other."""
    return dict(
        zip(ERRORS, look_up(sample_plugins, *[("connector", name, "consumer") for name in ERRORS]), strict=True)
    )


@pytest.mark.parametrize("name", ERRORS)
def test_each_fault_is_one_exact_error(
    name: str, answers: dict[str, tuple[str, str]], sample_plugins: Path, core_version: str
) -> None:
    """The error names distribution, version, cause and remedy, though other broken plugins were met before."""
    kind, text = ERRORS[name]
    plugin = f"connector '{name}': plugin '{name}' of penstock-{name} 1.0.0"

    assert answers[name] == (
        kind,
        text.format(
            plugin=plugin, core=core_version, source=shlex.quote(str(ROOT / "core")), sample_plugins=sample_plugins
        ),
    )


def test_a_sound_plugin_works_beside_broken_ones(sample_plugins: Path, look_up: LookUp) -> None:
    """Its connector is found and loaded, before and after every plugin was tried."""
    sound = ("connector", "sound", "consumer")

    answers = look_up(
        sample_plugins, sound, ("connector", "nothing-like-it", ""), sound, ("serializer", "json", "target")
    )

    assert [answers[0], answers[2], answers[3]] == [
        ("found", "Consumer"),
        ("found", "Consumer"),
        ("found", "JsonSerializer"),
    ]


def test_each_twin_is_reached_by_the_name_of_its_distribution(sample_plugins: Path, look_up: LookUp) -> None:
    """`dist:name` settles a name that two distributions claim; `Acme_Twin` is as good as `acme-twin`."""
    answers = look_up(
        sample_plugins,
        ("connector", "acme-twin:twin", "consumer"),
        ("connector", "Acme_Twin:twin", "producer"),
        ("connector", "other-twin:twin", ""),
    )

    assert answers == [("found", "Consumer"), ("found", "Producer"), ("found", "twin")]


def test_the_cores_own_name_is_not_taken_in_silence(rival: Path, look_up: LookUp, core_version: str) -> None:
    """A plugin that also offers `json` makes the name ambiguous; the full names still work."""
    answers = look_up(
        rival,
        ("serializer", "json", "target"),
        ("serializer", "penstock-core:json", "target"),
        ("serializer", "acme-rival:json", "target"),
        ("model_handler", "pydantic", "target"),
    )

    assert answers == [
        (
            "DuplicateNameError",
            f"serializer 'json' is offered by plugin 'builtin' of penstock-core {core_version} and "
            "plugin 'rival' of acme-rival 1.0.0; write 'penstock-core:json' or 'acme-rival:json'",
        ),
        ("found", "JsonSerializer"),
        ("found", "Json"),
        ("found", "PydanticModelHandler"),
    ]


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("plugins",), ("plugins", "--json")])
def test_the_command_line_works_whatever_is_broken(arguments: tuple[str, ...], sample_plugins: Path, run: Run) -> None:
    """Help, version and the list come without an error, a warning or a traceback."""
    done = run(sample_plugins, "-m", "penstock.cli.main", *arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    ("block", "allow", "reason"),
    [
        ("penstock-leaves", "", "is blocked by PENSTOCK_PLUGINS_BLOCK; take it off that list to use it"),
        ("past, leaves", "", "is blocked by PENSTOCK_PLUGINS_BLOCK; take it off that list to use it"),
        (
            "",
            "penstock-sound",
            "is not allowed by PENSTOCK_PLUGINS_ALLOW; add 'penstock-leaves' to that list to use it",
        ),
    ],
)
def test_a_plugin_that_is_kept_out_is_told_so(
    block: str, allow: str, reason: str, sample_plugins: Path, look_up: LookUp
) -> None:
    """A lookup of its name says which list keeps it out; the others, and the core's own, work."""
    answers = look_up(
        sample_plugins,
        ("connector", "leaves", ""),
        ("connector", "sound", "consumer"),
        ("serializer", "json", "target"),
        PENSTOCK_PLUGINS_BLOCK=block,
        PENSTOCK_PLUGINS_ALLOW=allow,
    )

    assert answers == [
        ("PluginError", f"connector 'leaves': plugin 'leaves' of penstock-leaves 1.0.0 {reason}"),
        ("found", "Consumer"),
        ("found", "JsonSerializer"),
    ]


@pytest.mark.parametrize(("block", "imported"), [("", True), ("penstock-leaves", False)])
def test_a_plugin_that_is_kept_out_is_never_imported(
    block: str, imported: bool, sample_plugins: Path, run: Run
) -> None:
    """The lists act before the load: not even the package around the plugin's module is imported."""
    program = (
        "import sys; from penstock.plugins.registry import Registry; Registry().listing();"
        "print('penstock_leaves' in sys.modules)"
    )

    assert run(sample_plugins, "-c", program, PENSTOCK_PLUGINS_BLOCK=block).stdout.strip() == str(imported)


def test_only_plugins_that_may_offer_a_name_are_imported(sample_plugins: Path, run: Run) -> None:
    """A lookup of `sound` runs the code of the plugin `sound`, and of no other one."""
    program = (
        "import sys; from penstock.plugins.registry import Registry; Registry().connector('sound');"
        "print([name for name in sys.modules if name.endswith('.plugin')])"
    )

    assert run(sample_plugins, "-c", program).stdout.strip() == "['penstock_sound.plugin']"
