"""The suite: one class to subclass, every test inherited."""

from __future__ import annotations

from typing import ClassVar

import pytest

from penstock.testing.conformance import recorder
from penstock.testing.conformance.back_pressure import BackPressure
from penstock.testing.conformance.basics import Basics
from penstock.testing.conformance.batches import Batches
from penstock.testing.conformance.browsing import Browsing
from penstock.testing.conformance.completeness import Completeness
from penstock.testing.conformance.configuration import Configuration
from penstock.testing.conformance.endings import Endings
from penstock.testing.conformance.engines import Engines
from penstock.testing.conformance.faults import Faults
from penstock.testing.conformance.fidelity import Fidelity
from penstock.testing.conformance.harness import Harness
from penstock.testing.conformance.imports import Imports
from penstock.testing.conformance.kit import Kit
from penstock.testing.conformance.leases import Leases
from penstock.testing.conformance.lifecycle import Lifecycle
from penstock.testing.conformance.loss import Loss
from penstock.testing.conformance.membership import Membership
from penstock.testing.conformance.ordering import Ordering
from penstock.testing.conformance.poison import Poison
from penstock.testing.conformance.producing import Producing
from penstock.testing.conformance.promises import must
from penstock.testing.conformance.report import Outcome
from penstock.testing.conformance.settling import Settling
from penstock.testing.conformance.transactions import Transactions


# pytest runs the tests of the last base first.
class ConnectorConformance(
    Imports,
    Configuration,
    Endings,
    Engines,
    Lifecycle,
    Faults,
    Producing,
    Poison,
    BackPressure,
    Browsing,
    Membership,
    Batches,
    Transactions,
    Ordering,
    Loss,
    Leases,
    Settling,
    Fidelity,
    Basics,
    Completeness,
):
    """Everything that a connector promises, as tests. Subclass it, name the connector, write the fixture `harness`.

    Attributes:
        connector: The name under which the plugin offers it.
        variant: What distinguishes this suite from another one of the same connector ("in one process").
    """

    connector: ClassVar[str] = ""
    variant: ClassVar[str] = ""

    @pytest.fixture
    def harness(self) -> Harness:
        """Overridden by every suite."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `harness` that returns a Harness")

    @pytest.fixture
    def kit(self, harness: Harness, request: pytest.FixtureRequest) -> Kit:
        """What the tests work with."""
        suite = type(self).__name__
        must(
            self.connector,
            f"a suite says which connector it is about; {suite} does not",
            f'write `connector = "…"` in {suite}: the name by which a configuration calls it',
        )
        must(
            isinstance(harness, Harness),
            f"the fixture `harness` returns a Harness; that of {suite} returned {harness!r}",
            "the end of the fixture: an object of your class that derives from Harness",
        )

        def note(outcome: Outcome, reason: str) -> None:
            request.node.user_properties.append((recorder.NOTE, (outcome, reason)))

        return Kit(self.connector, harness, request.node.originalname, note)

    @pytest.fixture(autouse=True)
    def recorded(self, request: pytest.FixtureRequest) -> None:
        """What each test finds stands in the capability matrix."""
        recorder.listen(request.config)
        name = request.node.originalname
        # Of a test that is overridden, the kit's own says where it belongs; further tests are the suite's own.
        test = getattr(ConnectorConformance, name, None)
        if test is not None:
            told = {
                "connector": self.connector,
                "variant": self.variant,
                "test": name,
                "group": test.__module__.rpartition(".")[2],
                "capability": getattr(test, "capability", ""),
                "capabilities": recorder.declared(self.connector),
            }
            request.node.user_properties.append((recorder.TEST, told))
