"""What the NATS client says, in Penstock's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
import nats.js.errors
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected

Kind = type[ConnectorError]

# The most specific class wins. A class without a row is a bug or a plain refusal: ConnectorError.
BY_CLASS: dict[type[Exception], Kind] = {
    OSError: NotConnected,
    TimeoutError: NotConnected,
    nats.errors.StaleConnectionError: NotConnected,
    nats.errors.ConnectionClosedError: NotConnected,
    nats.errors.ConnectionDrainingError: NotConnected,
    nats.errors.ConnectionReconnectingError: NotConnected,
    nats.errors.OutboundBufferLimitError: NotConnected,
    nats.errors.NoServersError: NotConnected,
    nats.errors.NoRespondersError: NotConnected,
    nats.js.errors.ServiceUnavailableError: NotConnected,
    nats.js.errors.ServerError: NotConnected,
    nats.js.errors.NotFoundError: FatalConnectorError,
    nats.js.errors.BadRequestError: FatalConnectorError,
    nats.errors.AuthorizationError: FatalConnectorError,
    nats.errors.InvalidUserCredentialsError: FatalConnectorError,
    nats.errors.SecureConnRequiredError: FatalConnectorError,
    nats.errors.SecureConnWantedError: FatalConnectorError,
    nats.errors.SecureConnFailedError: FatalConnectorError,
    nats.errors.BadSubjectError: FatalConnectorError,
}


def as_connector_error(error: Exception, address: str) -> ConnectorError:
    """The error of Penstock's that says what to do about `error`."""
    kind = next((BY_CLASS[ancestor] for ancestor in type(error).__mro__ if ancestor in BY_CLASS), ConnectorError)
    text = str(error).removeprefix("nats: ") or type(error).__name__
    return kind(f"NATS at {address}: {text}")


@contextmanager
def connector_errors(address: str) -> Iterator[None]:
    """Whatever the client raises in this block leaves it as one of Penstock's."""
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        raise as_connector_error(error, address) from error
