"""The conformance kit: what every connector promises, as tests that an author inherits.

    from penstock.testing.conformance import ConnectorConformance, Harness

    class AcmeHarness(Harness):
        def config(self, queue, group=None, **over):
            return {"connector": "acme", "value": queue, "config": {"host": "localhost", **over}}

    class TestAcme(ConnectorConformance):
        connector = "acme"

        @pytest.fixture
        def harness(self):
            return AcmeHarness()

There is nothing to list and nothing to forget: every test is inherited, a test that is deleted or overridden fails the
suite, and the capabilities that the plugin declares decide which promises are held against it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.exports import lazily

if TYPE_CHECKING:
    from penstock.testing.conformance.harness import Harness
    from penstock.testing.conformance.promises import Broken, must
    from penstock.testing.conformance.suite import ConnectorConformance

_HOMES = {
    "Broken": "penstock.testing.conformance.promises",
    "ConnectorConformance": "penstock.testing.conformance.suite",
    "Harness": "penstock.testing.conformance.harness",
    "must": "penstock.testing.conformance.promises",
}

__all__ = ["Broken", "ConnectorConformance", "Harness", "must"]

if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for Any
    __getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
