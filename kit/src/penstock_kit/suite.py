"""The suite: one class to subclass, every test inherited."""

from __future__ import annotations

from typing import ClassVar

import pytest

from penstock_kit import recorder
from penstock_kit.backend_fixture import BackendFixture
from penstock_kit.broken import must
from penstock_kit.completeness import Completeness
from penstock_kit.families.back_pressure import BackPressure
from penstock_kit.families.basics import Basics
from penstock_kit.families.batches import Batches
from penstock_kit.families.browsing import Browsing
from penstock_kit.families.claiming import Claiming
from penstock_kit.families.configuration import Configuration
from penstock_kit.families.endings import Endings
from penstock_kit.families.engines import Engines
from penstock_kit.families.fidelity import Fidelity
from penstock_kit.families.imports import Imports
from penstock_kit.families.leases import Leases
from penstock_kit.families.lifecycle import Lifecycle
from penstock_kit.families.loss import Loss
from penstock_kit.families.membership import Membership
from penstock_kit.families.operations import Operations
from penstock_kit.families.ordering import Ordering
from penstock_kit.families.outages import Outages
from penstock_kit.families.poison import Poison
from penstock_kit.families.probing import Probing
from penstock_kit.families.producing import Producing
from penstock_kit.families.settling import Settling
from penstock_kit.families.transactions import Transactions
from penstock_kit.kit import Kit
from penstock_kit.report import Outcome


# pytest runs the tests of the last base first.
class ConnectorConformance(
    Imports,
    Configuration,
    Endings,
    Engines,
    Lifecycle,
    Outages,
    Producing,
    Poison,
    BackPressure,
    Operations,
    Browsing,
    Claiming,
    Probing,
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
    """Everything that a connector promises, as tests. Subclass it, set `connector`, and write the fixture `backend`.

    Attributes:
        connector: The name under which the plugin offers it.
        variant: Tells two suites of the same connector apart ("in one process").
    """

    connector: ClassVar[str] = ""
    variant: ClassVar[str] = ""

    @pytest.fixture
    def backend(self) -> BackendFixture:
        """The backend fixture. Every suite overrides it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `backend` that returns a BackendFixture")

    @pytest.fixture
    def kit(self, backend: BackendFixture, request: pytest.FixtureRequest) -> Kit:
        """The kit that a test works with."""
        suite = type(self).__name__
        must(
            self.connector,
            f"a suite names its connector; {suite} does not",
            f'write `connector = "…"` in {suite}: the name by which a configuration calls it',
        )
        must(
            isinstance(backend, BackendFixture),
            f"the fixture `backend` returns a BackendFixture; that of {suite} returned {backend!r}",
            "the end of the fixture: an object of your class that derives from BackendFixture",
        )

        def note(outcome: Outcome, reason: str) -> None:
            request.node.user_properties.append((recorder.NOTE, (outcome, reason)))

        return Kit(self.connector, backend, request.node.originalname, note)

    @pytest.fixture(autouse=True)
    def recorded(self, request: pytest.FixtureRequest) -> None:
        """Record the result of each test for the capability matrix."""
        recorder.listen(request.config)
        name = request.node.originalname
        # An overridden test belongs where the kit's own test belongs. Further tests are not recorded.
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
