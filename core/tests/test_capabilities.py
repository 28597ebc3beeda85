"""A capability explains itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.capabilities import CAPABILITY_NAMES, Capabilities
from penstock.errors import CapabilityError, ConfigError

SWITCHES = tuple(name for name in CAPABILITY_NAMES if name != "ordering")


def test_nothing_is_promised_that_is_not_declared() -> None:
    """A connector that says nothing can do nothing."""
    assert [name for name in CAPABILITY_NAMES if Capabilities().has(name)] == []


@pytest.mark.parametrize("name", SWITCHES)
def test_what_is_declared_is_had_and_nothing_else(name: str) -> None:
    """Each capability is its own."""
    declared = Capabilities(**{name: True})  # type: ignore[arg-type]

    assert [each for each in CAPABILITY_NAMES if declared.has(each)] == [name]


@pytest.mark.parametrize(("ordering", "had"), [("none", False), ("key", True), ("queue", True)])
def test_ordering_is_had_unless_it_is_none(ordering: str, had: bool) -> None:
    """Per key or per queue: either is an order."""
    assert Capabilities(ordering=ordering).has("ordering") is had  # type: ignore[arg-type]


def test_an_order_that_is_none_of_the_three_is_refused() -> None:
    """It would pass for an order that is kept."""
    with pytest.raises(ValueError, match="ordering is one of 'none', 'queue', 'key'; not 'que'"):
        Capabilities(ordering="que")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CAPABILITY_NAMES)
def test_a_missing_capability_is_told_with_queue_connector_and_remedy(name: str) -> None:
    """What, where, what to do."""
    with pytest.raises(CapabilityError) as raised:
        Capabilities().require(
            name,
            queue="'orders' (queues.yml:12)",
            connector="rsmq",
            wanted_by="'keep_order'",
            remedy="use kafka or memory, or drop the key",
        )

    assert str(raised.value) == (
        f"queue 'orders' (queues.yml:12): connector 'rsmq' has no {name!r}, needed by 'keep_order'; "
        "use kafka or memory, or drop the key"
    )
    assert isinstance(raised.value, ConfigError)
    assert raised.value.problems == (str(raised.value),)


def test_a_capability_that_is_there_is_no_matter() -> None:
    """`require` is silent."""
    everything = Capabilities(ordering="key", **dict.fromkeys(SWITCHES, True))  # type: ignore[arg-type]

    for name in CAPABILITY_NAMES:
        everything.require(name, queue="q", connector="c", wanted_by="w", remedy="r")


def test_a_misspelt_capability_is_an_error_of_ours() -> None:
    """Asking for what is not a capability at all is a bug, not an answer."""
    with pytest.raises(AttributeError):
        Capabilities().has("tranactions")


def test_delay_declares_the_delay_of_records_and_of_requeues() -> None:
    """As plugins wrote it before there were two; a copy keeps both."""
    declared = replace(Capabilities(delay=True), lag=True)

    assert [name for name in CAPABILITY_NAMES if declared.has(name)] == ["record_delay", "requeue_delay", "lag"]
