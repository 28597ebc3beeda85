"""A plugin is written with public names alone: ours, a third party's, and the one that `penstock new` writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock_kit.new import write_plugin
from tests.private_uses import MODULES, private_names_of_the_core, private_uses
from tests.sources import ROOT
from tests.test_layers import FOR_PROGRAMS, PUBLIC

CONTRACTS = {
    *(f"penstock.{name}" for name in PUBLIC),
    "penstock.dead_letters",  # for programs that read dead letters
}
"""What a plugin's own code may import. Whatever is public of these modules stays as it is, or PLUGIN_API is raised."""

FOR_TESTS = CONTRACTS | {
    "penstock",
    "penstock.config.files",
    "penstock.config.resolve",
    "penstock.testing",
    "penstock_kit",
}
"""What a third party's tests may import as well."""

FOR_TOOLS = FOR_TESTS - {"penstock_kit", "penstock.testing"} | {
    "penstock.installed",
    "penstock.standalone",
}
"""What the conformance kit, a tool beside the core, may import."""

OURS = sorted(ROOT.glob("plugins/*/src"))
STRANGERS = sorted(ROOT.glob("tests/third_party/*/src"))


@pytest.mark.parametrize("folder", [*OURS, *STRANGERS], ids=lambda path: path.parent.name)
def test_a_plugin_takes_public_names_only(folder: Path) -> None:
    """Of the modules that are contracts, and nothing there that begins with an underscore."""
    public = CONTRACTS | ({"penstock"} if FOR_PROGRAMS & {each.name for each in folder.iterdir()} else set())
    assert private_uses(folder, public) == []


@pytest.mark.parametrize("folder", [path.parent for path in STRANGERS], ids=lambda path: path.name)
def test_a_strangers_tests_take_public_names_only(folder: Path) -> None:
    """The conformance kit, and the way of a configuration."""
    assert private_uses(folder / "tests", FOR_TESTS) == []


def test_the_kit_takes_public_names_only() -> None:
    """It tests connectors from outside, as any tool could."""
    found = private_uses(ROOT / "kit" / "src", FOR_TOOLS)

    # Its own modules, and those of the plugin under test, are its own business.
    assert [use for use in found if "penstock_kit" not in use.partition(": ")[2] and "composed" not in use] == []


def test_the_generated_plugin_takes_public_names_only(tmp_path: Path) -> None:
    """Code and tests."""
    package = write_plugin("acme", tmp_path)

    assert private_uses(package / "src", CONTRACTS) == []
    assert private_uses(package / "tests", FOR_TESTS) == []


def test_the_contracts_are_all_there() -> None:
    """The list names modules that exist, and the tests look at all plugins."""
    assert [module for module in sorted(CONTRACTS | FOR_TESTS) if module not in MODULES] == []
    assert {path.parent.name for path in OURS} >= {"kafka", "rsmq", "memory", "sqlite", "msgpack", "postgres"}
    assert [path.parent.name for path in STRANGERS] == ["penstock-beanstalkd"]


@pytest.mark.parametrize(
    "source",
    [
        # a module that is not a contract
        "from penstock.queues.queue import InputQueue",
        "import penstock.queues.queue",
        "from penstock import queues",
        "import penstock.errors\npenstock.queues.InputQueue",
        "from penstock import Engine",
        "import penstock as p\np.Engine",
        "def later():\n    from penstock.config.model import QueueConfig",
        "if TYPE_CHECKING:\n    from penstock.queues.queue import InputQueue",
        # by a text
        "from importlib import import_module\nimport_module('penstock.queues.codec')",
        "from importlib import import_module as i\ni('penstock.queues.codec')",
        "MODULE = 'penstock.queues.codec'\n__import__(MODULE)",
        "pkgutil.resolve_name('penstock.queues.codec:Codec')",
        "sys.modules['penstock.queues.codec']",
        "monkeypatch.setattr('penstock.queues.codec.Codec', None)",
        "exec('from penstock.queues.codec import Codec')",
        "importlib.import_module(f'penstock.{name}')",
        "importlib.import_module('.codec', 'penstock')",
        "__import__(name='.'.join(parts))",
        # a private name of a contract
        "from penstock.options import _masked",
        "from penstock import options\noptions._masked",
        "import penstock.options as o\no._masked",
        "import penstock.options\npenstock.options._masked",
        # what a contract has only imported, or offers without a `__all__`
        "from penstock.connectors import abstractmethod",
        "from penstock import connectors\nconnectors.ABC",
        "from penstock.errors import *",
    ],
)
def test_every_way_to_what_is_not_public_is_seen(source: str, tmp_path: Path) -> None:
    """This test's own eyes."""
    (tmp_path / "plugin.py").write_text(source)

    assert private_uses(tmp_path, CONTRACTS) != []


@pytest.mark.parametrize(
    "source", ["queue.{}", "class Mine(Consumer):\n    def f(self): self.{}", "getattr(queue, '{}')"]
)
def test_every_private_name_of_the_core_is_known(source: str, tmp_path: Path) -> None:
    """As an attribute of whatever it may be, and as a text; unless the plugin itself defines one of that name."""
    name = min(private_names_of_the_core())
    (tmp_path / "plugin.py").write_text(source.format(name))
    (found,) = private_uses(tmp_path, CONTRACTS)
    assert found.endswith(name)

    (tmp_path / "own.py").write_text(f"class Own:\n    def __init__(self):\n        self.{name} = 1")
    assert private_uses(tmp_path, CONTRACTS) == []


def test_what_is_public_is_no_trespass(tmp_path: Path) -> None:
    """However it is written; nor are a logger's name, prose, and private names of others."""
    (tmp_path / "plugin.py").write_text(
        '"""Not penstock.queues.queue."""\n'
        "from penstock import errors\nfrom penstock.connectors import Consumer\nerrors.NotConnected\n"
        "import penstock.options\npenstock.options.ConnectorOptions.model_config\n"
        "import penstock_x._y\nlog = logging.getLogger('penstock.acme')\nimport_module('penstock.errors')\n"
        "client._surely_of_nobody_else\n_ = 1\n"
    )

    assert private_uses(tmp_path, CONTRACTS) == []
