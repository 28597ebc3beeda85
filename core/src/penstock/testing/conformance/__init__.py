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

from penstock.testing.conformance.harness import Harness
from penstock.testing.conformance.promises import Broken, must
from penstock.testing.conformance.suite import ConnectorConformance

__all__ = ["Broken", "ConnectorConformance", "Harness", "must"]
