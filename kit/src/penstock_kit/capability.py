"""Capabilities, proved in both directions: a declared one must work, and one that works must be declared."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from penstock.capabilities import Capabilities
from penstock_kit.broken import Broken
from penstock_kit.kit import Kit

Test = Callable[[Any, Kit], None]


def proves(name: str, value: str | None = None, *, probe: bool = True) -> Callable[[Test], Test]:
    """Mark a test as the proof of a capability.

    If the capability is declared, the test must pass. If not, the test runs as a probe, and must not pass.

    Args:
        name: The capability, a field of `Capabilities`.
        value: For `ordering`: "key" or "queue".
        probe: False for an expensive test; another test of the same capability is the probe.
    """

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def run(self: Any, kit: Kit) -> None:
            if declares(kit.capabilities, name, value):
                test(self, kit)
                return
            if not probe:
                kit.not_declared(f"{_spoken(name, value)}; another test probes it")
            try:
                test(self, kit.for_probing())
            except Exception:  # noqa: BLE001  (any failure means that the capability is missing, as declared)
                kit.not_declared(f"{_spoken(name, value)}; probed, and missing")
            raise Broken(
                f"the connector {kit.connector!r} does not declare {_written(name, value)}, yet this test passes: "
                f"{(test.__doc__ or '').strip()}\n    look at: the capabilities of its ConnectorSpec; declare it, so "
                "that users may rely on it" + _advice(name, value, kit.capabilities)
            )

        run.capability = name  # type: ignore[attr-defined]  # read by the suite, for the matrix
        return run

    return decorate


def declares(capabilities: Capabilities, name: str, value: str | None = None) -> bool:
    """Whether a capability is declared. Order by queue includes order by key."""
    if name == "ordering":
        return capabilities.ordering == "queue" or capabilities.ordering == value
    return capabilities.has(name)


def _written(name: str, value: str | None) -> str:
    return f"{name}={value or True!r}"


def _spoken(name: str, value: str | None) -> str:
    return f"order by {value}" if name == "ordering" else name


def _advice(name: str, value: str | None, capabilities: Capabilities) -> str:
    if name == "ordering" and value == "queue" and capabilities.ordering == "key":
        return ", or let the backend fixture create queues with several partitions, so that order by key is proved"
    return ""
