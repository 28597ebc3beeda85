"""Every error of the client has a meaning, or is known to have none."""

from __future__ import annotations

import nats.errors
import nats.js.errors
import pytest

from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock_nats.errors import ERRORS

MEANINGLESS = {
    # Bugs of the caller, which stop the engine with their own text.
    "BadHeaderError", "BadSubscriptionError", "BadTimeoutError", "InvalidCallbackTypeError", "JsonParseError",
    "MaxPayloadError", "MsgAlreadyAckdError", "NotJSMessageError", "ProtocolError", "ServerNotInPoolError",
    "SlowConsumerError", "TooManyStalledMsgsError", "ConsumerSequenceMismatchError", "NoStreamResponseError",
    # Key-value and object stores are not used here.
    "BadBucketError", "BadObjectMetaError", "DigestMismatchError", "InvalidBucketNameError", "InvalidKeyError",
    "InvalidObjectNameError", "KeyHistoryTooLargeError", "KeyValueError", "KeyValueLimitMarkerTTLNotSupportedError",
    "LinkIsABucketError", "NoKeysError", "ObjectAlreadyExists",
    # The roots.
    "Error", "APIError",
}  # fmt: skip


def test_every_error_of_the_client_has_a_meaning() -> None:
    """One without a row, and not listed as meaningless, is new: decide what it means."""
    assert ERRORS.unmapped(nats.errors, nats.js.errors) == MEANINGLESS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(111, "Connection refused"), NotConnected),
        (nats.errors.TimeoutError(), NotConnected),
        (nats.errors.UnexpectedEOF(), NotConnected),
        (nats.js.errors.ServiceUnavailableError(), NotConnected),
        (nats.errors.AuthorizationError(), FatalConnectorError),
        (nats.errors.Error("nats: 'Authorization Violation'"), FatalConnectorError),
        (nats.errors.Error("nats: 'maximum connections exceeded'"), NotConnected),
        (nats.errors.ProtocolError(), ConnectorError),
    ],
)
def test_the_engine_is_translated_what_to_do(error: Exception, kind: type[ConnectorError]) -> None:
    """The text names the server."""
    translated = ERRORS.translate(error, "nats://a:4222")

    assert type(translated) is kind
    assert str(translated).startswith("NATS at nats://a:4222: ")
