"""The suite: one class to subclass, every test inherited."""

from __future__ import annotations

from typing import ClassVar

import pytest

from penstock.testing.conformance.basics import Basics
from penstock.testing.conformance.completeness import Completeness
from penstock.testing.conformance.harness import Harness
from penstock.testing.conformance.kit import Kit


class ConnectorConformance(
    Completeness,
    Basics,
):
    """Everything that a connector promises, as tests. Subclass it, name the connector, write the fixture `harness`.

    Attributes:
        connector: The name under which the plugin offers it.
        variant: What distinguishes this suite from another one of the same connector ("in one process").
    """

    connector: ClassVar[str]
    variant: ClassVar[str] = ""

    @pytest.fixture
    def harness(self) -> Harness:
        """Overridden by every suite."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `harness` that returns a Harness")

    @pytest.fixture
    def kit(self, harness: Harness, request: pytest.FixtureRequest) -> Kit:
        """What the tests work with."""
        return Kit(self.connector, harness, request.node.originalname)
