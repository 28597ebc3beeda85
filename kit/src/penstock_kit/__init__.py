"""The conformance kit: what every connector promises, as tests that an author inherits.

    from penstock_kit import BackendFixture, ConnectorConformance

    class AcmeBackend(BackendFixture):
        def config(self, queue, group=None, **over):
            return {"connector": "acme", "value": queue, "config": {"host": "localhost", **over}}

    class TestAcme(ConnectorConformance):
        connector = "acme"

        @pytest.fixture
        def backend(self):
            return AcmeBackend()

Every test is inherited, so none can be forgotten. A test that is deleted or overridden fails the suite, and the
capabilities that the plugin declares decide which promises are tested.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from penstock_kit.backend_fixture import BackendFixture
    from penstock_kit.broken import Broken, must
    from penstock_kit.server_process import ServerProcess, free_port
    from penstock_kit.suite import ConnectorConformance

__version__ = "0.1.0"

__all__ = ["BackendFixture", "Broken", "ConnectorConformance", "ServerProcess", "free_port", "must"]

_MODULES = {
    "BackendFixture": "penstock_kit.backend_fixture",
    "Broken": "penstock_kit.broken",
    "ConnectorConformance": "penstock_kit.suite",
    "ServerProcess": "penstock_kit.server_process",
    "free_port": "penstock_kit.server_process",
    "must": "penstock_kit.broken",
}

if not TYPE_CHECKING:  # with this function in sight a type checker would take every misspelt name for Any

    def __getattr__(name):
        # Imported on first use, so that `penstock plugins` does not pay for pytest.
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_MODULES[name]), name)
        setattr(sys.modules[__name__], name, value)
        return value


def __dir__() -> list[str]:
    return __all__
