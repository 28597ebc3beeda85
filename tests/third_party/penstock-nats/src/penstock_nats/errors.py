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

# What the server says at the end of a connection reaches us as a plain Error with this text in it.
BY_TEXT: dict[str, Kind] = {
    "authorization violation": FatalConnectorError,
    "authentication expired": FatalConnectorError,
    "authentication revoked": FatalConnectorError,
    "permissions violation": FatalConnectorError,
    "stale connection": NotConnected,
    "maximum connections exceeded": NotConnected,
    "authentication timeout": NotConnected,
    "server shutdown": NotConnected,
}


def as_connector_error(error: Exception, address: str) -> ConnectorError:
    """The error of Penstock's that says what to do about `error`."""
    text = str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    said = next((kind for words, kind in BY_TEXT.items() if words in text.lower()), None)
    known = next((BY_CLASS[ancestor] for ancestor in type(error).__mro__ if ancestor in BY_CLASS), None)
    return (said or known or ConnectorError)(f"NATS at {address}: {text}")


@contextmanager
def connector_errors(address: str) -> Iterator[None]:
    """Whatever the client raises in this block leaves it as one of Penstock's."""
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        raise as_connector_error(error, address) from error
