"""Every error of the two clients has one meaning, and no text carries a key."""

from __future__ import annotations

import azure.core.exceptions as core
import azure.servicebus.exceptions as bus
import pytest

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_azure.servicebus import client as servicebus
from penstock_azure.storage_queue import client as storage_queue

PLAIN = {
    # Bugs of the caller, or of requests that are not made here.
    "AzureError", "HttpResponseError", "ODataV4Error", "ResourceModifiedError", "ResourceNotFoundError",
    "ResourceNotModifiedError", "ResponseNotReadError", "StreamClosedError", "StreamConsumedError",
    "TooManyRedirectsError", "SerializationError", "DeserializationError",
}  # fmt: skip


def test_every_error_of_the_client_of_storage_queues_has_a_meaning() -> None:
    """One without a row, and not listed as meaningless, is new: decide what it means. Most answers go by their code."""
    assert storage_queue.ERRORS.unmapped(core) - PLAIN == set()


def test_every_error_of_the_client_of_service_bus_has_a_meaning() -> None:
    """The same; what is not listed by itself is a connection that broke."""
    assert servicebus.ERRORS.unmapped(bus) - {"AzureError"} == set()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (bus.ServiceBusConnectionError(), NotConnected),
        (bus.ServiceBusServerBusyError(), NotConnected),
        (bus.ServiceBusQuotaExceededError(), NotConnected),
        (bus.MessagingEntityNotFoundError(), NotConnected),
        (bus.ServiceBusError("Handler failed: list index out of range."), NotConnected),
        (ValueError("Management Operation error occurred."), NotConnected),
        (bus.ServiceBusAuthenticationError(), FatalConnectorError),
        (bus.ServiceBusAuthorizationError(), FatalConnectorError),
        (bus.MessageLockLostError(), servicebus.GoneError),
        (bus.MessageAlreadySettled(action="complete"), servicebus.GoneError),
        (bus.MessageSizeExceededError(), servicebus.RefusedError),
    ],
)
def test_the_engine_is_told_what_to_do(error: Exception, kind: type[ConnectorError]) -> None:
    """The text names the service."""
    translated = servicebus.ERRORS.translate(error, "shop.servicebus.windows.net")

    assert type(translated) is kind
    assert str(translated).startswith("Azure Service Bus at shop.servicebus.windows.net: ")
