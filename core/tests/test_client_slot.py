"""A connector without a client says why, in the words that tell the engine what to do."""

from __future__ import annotations

import pytest

from penstock.client_slot import ClientSlot
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected


def test_a_client_is_there_from_connect_to_shutdown() -> None:
    """Before, the engine is to connect; afterwards, a call is an error."""
    slot = ClientSlot[str]("queue 'q'")
    with pytest.raises(NotConnected, match=r"^queue 'q' is not connected yet$"):
        slot.get()
    assert not slot.is_open

    slot.put("client")
    assert slot.is_open
    assert slot.get() == "client"

    assert slot.close() == "client"
    assert slot.close() is None
    with pytest.raises(ConnectorError, match=r"^queue 'q' is closed$") as closed:
        slot.get()
    assert not isinstance(closed.value, NotConnected)


def test_a_connection_that_is_lost_says_why_until_the_next_one() -> None:
    """The first reason counts; each caller gets an error of its own; the client can still be closed."""
    slot = ClientSlot[str]("queue 'q'")
    slot.put("first")
    slot.lose(FatalConnectorError("revoked"))
    slot.lose(NotConnected("lost"))
    errors = []
    for _ in range(2):
        with pytest.raises(FatalConnectorError, match=r"^revoked$") as lost:
            slot.get()
        errors.append(lost.value)
    assert errors[0] is not errors[1]
    assert not slot.is_open

    assert slot.take() == "first"
    slot.put("second")
    assert slot.get() == "second"


def test_a_client_that_connects_after_the_end_is_not_kept() -> None:
    """Its maker learns of it, and closes it."""
    slot = ClientSlot[str]("queue 'q'")
    slot.close()
    with pytest.raises(ConnectorError, match="closed"):
        slot.put("late")
    assert slot.close() is None
