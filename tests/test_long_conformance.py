"""The default run of the tests keeps a whole conformance suite of every plugin."""

from __future__ import annotations

import re

from penstock_kit import ConnectorConformance
from tests.long_conformance import FURTHER_SUITES, LONG_TESTS
from tests.sources import ROOT

SUITE = re.compile(r"^class (Test\w+)\(ConnectorConformance\)", re.MULTILINE)


def test_what_is_left_to_the_long_session_exists() -> None:
    """A test or suite that is renamed is not left out, nor in, by an old name."""
    suites = {name for path in ROOT.glob("plugins/*/tests/test_conf*.py") for name in SUITE.findall(path.read_text())}
    assert suites >= FURTHER_SUITES
    assert set(dir(ConnectorConformance)) >= LONG_TESTS


def test_every_plugin_has_a_whole_suite() -> None:
    """What the default run leaves out of one suite of a plugin, it runs in another."""
    for tests in ROOT.glob("plugins/*/tests"):
        suites = {name for path in tests.glob("test_conf*.py") for name in SUITE.findall(path.read_text())}
        assert not suites or suites - FURTHER_SUITES, f"all suites of {tests.parent.name} are cut"
