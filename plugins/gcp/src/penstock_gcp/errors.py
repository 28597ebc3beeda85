"""What the errors of Google's clients mean to the engine."""

from __future__ import annotations

import google.api_core.exceptions as g
from google.auth.exceptions import GoogleAuthError, TransportError

from penstock.client_errors import ErrorTable
from penstock.errors import FatalConnectorError, NotConnected


class Refused(FatalConnectorError):
    """The service refuses this request for good; nothing of it was done, or what its cause's metadata says."""


AWAY = (
    *(g.ServerError, g.TooManyRequests, g.Aborted, g.Cancelled, g.RetryError, OSError, TimeoutError, TransportError),
)
FOR_EVER = (g.NotFound, g.Forbidden, g.Unauthorized, g.BadRequest, g.MethodNotImplemented, GoogleAuthError)

_CERTIFICATE = "the server's certificate is not trusted; name its authority's file in `ca`"
_EXPIRED = "the server's certificate has expired; it must be renewed"
_OTHER_NAME = "the server's certificate is for another name; write that name as the host of `endpoint`"
_CREDENTIALS = "check `service_account`, or the environment variable GOOGLE_APPLICATION_CREDENTIALS"
_PERMISSION = "the account needs the role Pub/Sub Subscriber on an input, Pub/Sub Publisher on an output"

# gRPC reports a failed handshake, and credentials that cannot be had, as a server that is away, with these words.
BY_TEXT: dict[str, tuple[str, str]] = {
    "certificate has expired": (_EXPIRED, "tls"),
    "certificate_verify_failed": (_CERTIFICATE, "tls"),
    "hostname verification check failed": (_OTHER_NAME, "tls"),
    "is not in peer certificate": (_OTHER_NAME, "tls"),
    "invalid_grant": ("Google does not know this account, or its key", "credentials"),
}


def _describe(error: BaseException) -> tuple[str, str]:
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    lower = text.lower()
    return next((found for words, found in BY_TEXT.items() if words in lower), (text, ""))


ERRORS = ErrorTable(
    "Google Pub/Sub",
    {**dict.fromkeys(AWAY, NotConnected), **dict.fromkeys(FOR_EVER, FatalConnectorError), g.InvalidArgument: Refused},
    roots=(g.GoogleAPIError,),
    by_code={"tls": FatalConnectorError, "credentials": FatalConnectorError},
    remedies={
        "credentials": _CREDENTIALS,
        g.Unauthorized: _CREDENTIALS,
        GoogleAuthError: _CREDENTIALS,
        g.Forbidden: _PERMISSION,
    },
    describe=_describe,
)
