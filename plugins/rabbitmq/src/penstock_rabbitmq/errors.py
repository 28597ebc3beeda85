"""What the errors of RabbitMQ and aio-pika mean to the engine."""

from __future__ import annotations

import re

import aiormq.exceptions as e
from pamqp.exceptions import PAMQPException

from penstock.client_errors import ErrorTable
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected
from penstock.tls import certificate_problem

AWAY = (
    OSError,
    TimeoutError,
    e.ChannelInvalidStateError,
    e.ChannelClosed,
    e.ProtocolSyntaxError,
)
FATAL = (e.AuthenticationError, e.ProbableAuthenticationError, e.IncompatibleProtocolError)

# The server begins the text of each error with its AMQP name. What is not here is as its class says.
BY_TEXT: dict[str, type[ConnectorError]] = {
    **dict.fromkeys(("CERTIFICATE", "ACCESS_REFUSED", "NOT_ALLOWED", "PRECONDITION_FAILED"), FatalConnectorError),
    **dict.fromkeys(("PRECONDITION_FAILED - delivery ack", "NOT_ALLOWED - connection"), NotConnected),
}
REMEDIES: dict[str | type[BaseException], str] = {
    "ACCESS_REFUSED - Login": "check `username` and `password`, or the environment variable RABBITMQ_PASSWORD",
    "ACCESS_REFUSED - access": "the user needs this permission (`rabbitmqctl set_permissions`)",
    "NOT_ALLOWED": "check `virtual_host`, and the user's permissions there",
    "NOT_FOUND": "`create: true` makes what is missing",
    "PRECONDITION_FAILED - delivery ack": "a call took longer than the server's consumer_timeout; raise that",
}
_NAMED = re.compile(r"\b([A-Z]+_[A-Z_]+ - [^\"]*?)(?:\"|'?\)|$)")


def _describe(error: BaseException) -> tuple[str, str]:
    if problem := certificate_problem(error):
        return problem, "CERTIFICATE"
    if isinstance(error, TimeoutError):
        return "no answer in time; it is away, or an alarm about its memory or disk blocks publishers", ""
    if "'Connection.OpenOk'" in str(error):
        # The client drops what the server says here.
        return "the server refuses this user the virtual host, or it does not exist", "NOT_ALLOWED"
    named = _NAMED.search(str(error))
    text = named[1] if named else str(error) or type(error).__name__
    return text, text if named else ""


ERRORS = ErrorTable(
    "RabbitMQ",
    {**dict.fromkeys(AWAY, NotConnected), **dict.fromkeys(FATAL, FatalConnectorError)},
    roots=(e.AMQPError, PAMQPException),
    by_code=BY_TEXT,
    remedies=REMEDIES,
    describe=_describe,
)
