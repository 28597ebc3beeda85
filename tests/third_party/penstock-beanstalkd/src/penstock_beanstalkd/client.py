"""The way to the server, and what its client's errors mean."""

from __future__ import annotations

import socket

import greenstalk
from penstock.client_errors import ErrorTable
from penstock.errors import FatalConnectorError, NotConnected
from penstock.shared_client import SharedClient

from penstock_beanstalkd.options import BeanstalkdOptions

ERRORS = ErrorTable(
    "beanstalkd",
    {
        OSError: NotConnected,
        greenstalk.OutOfMemoryError: NotConnected,
        greenstalk.InternalError: NotConnected,
        greenstalk.DrainingError: NotConnected,
        greenstalk.UnknownCommandError: FatalConnectorError,
    },
    roots=(greenstalk.Error,),
    remedies={greenstalk.UnknownCommandError: "beanstalkd 1.4 or newer is needed"},
)


def connection(tube: str, options: BeanstalkdOptions) -> SharedClient[greenstalk.Client[bytes]]:
    """One connection, for several threads: a job is settled on the connection that reserved it."""
    address = (options.host, options.port)

    def connect() -> greenstalk.Client[bytes]:
        channel = socket.create_connection(address, options.timeout)
        return greenstalk.Client(channel, encoding=None, use=tube, watch=tube)

    return SharedClient(f"tube {tube!r}", f"{options.host}:{options.port}", ERRORS, connect)
