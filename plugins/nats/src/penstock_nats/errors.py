"""What the errors of the NATS client mean to the engine."""

from __future__ import annotations

import nats.errors as e
import nats.js.errors as js

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.tls import certificate_problem

AWAY = (
    *(OSError, TimeoutError, e.StaleConnectionError, e.ConnectionClosedError, e.ConnectionDrainingError),
    *(e.ConnectionReconnectingError, e.OutboundBufferLimitError, e.NoServersError, e.NoRespondersError),
    *(js.ServiceUnavailableError, js.ServerError),
)
REFUSED_FOR_EVER = (
    *(js.NotFoundError, js.BadRequestError, e.AuthorizationError, e.InvalidUserCredentialsError, e.BadSubjectError),
    *(e.SecureConnRequiredError, e.SecureConnWantedError, e.SecureConnFailedError),
)

# When the server ends a connection, the client raises a plain Error with this text in it.
BY_TEXT: dict[str, type[ConnectorError]] = {
    **dict.fromkeys(("authorization violation", "authentication expired"), FatalConnectorError),
    **dict.fromkeys(("authentication revoked", "permissions violation"), FatalConnectorError),
    "certificate": FatalConnectorError,
    **dict.fromkeys(("stale connection", "server shutdown"), NotConnected),
    **dict.fromkeys(("maximum connections exceeded", "authentication timeout"), NotConnected),
}


def _describe(error: BaseException) -> tuple[str, str]:
    if problem := certificate_problem(error):
        return problem, "certificate"
    text = str(error).removeprefix("nats: ").strip("'") or type(error).__name__
    return text, next((words for words in BY_TEXT if words in text.lower()), "")


ERRORS = ErrorTable(
    "NATS",
    {**dict.fromkeys(AWAY, NotConnected), **dict.fromkeys(REFUSED_FOR_EVER, FatalConnectorError)},
    roots=(e.Error,),
    by_code=BY_TEXT,
    remedies={"authorization violation": "check `user`, `password`, `token` or `creds_file`"},
    describe=_describe,
)
