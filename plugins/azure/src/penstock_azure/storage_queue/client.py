"""One queue's client: finds or creates the queue, and raises Penstock's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import azure.core.exceptions as e
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.queue.aio import QueueClient

from penstock.client_errors import ErrorTable
from penstock.client_slot import ClientSlot
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.probes import Probed
from penstock.tls import TlsOptions, certificate_problem, tls_context
from penstock_azure.storage_queue.options import StorageQueueOptions


class GoneError(ConnectorError):
    """The message is deleted, or another consumer has it: its receipt is not the one that was shown."""


class ExistsError(ConnectorError):
    """The queue was created meanwhile."""


class RefusedError(ProduceError):
    """The service will never take this."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retriable=False)


class MissingQueueError(NotConnected):
    """The queue does not exist; somebody may create it."""


def _describe(error: BaseException) -> tuple[str, str]:
    if not isinstance(error, e.HttpResponseError) or error.response is None:
        return certificate_problem(error) or str(error) or type(error).__name__, ""
    # The first line: further ones quote headers of the request.
    text = error.message.splitlines()[0]
    code = getattr(error, "error_code", "")
    return text, f"{error.response.status_code} {getattr(code, 'value', code)}"


_KEY = "check `connection_string`, or the environment variable AZURE_STORAGE_CONNECTION_STRING"

ERRORS = ErrorTable(
    "Azure Storage",
    {
        **dict.fromkeys((e.ServiceRequestError, e.ServiceResponseError, e.DecodeError, OSError), NotConnected),
        e.ClientAuthenticationError: FatalConnectorError,
        e.ResourceExistsError: ExistsError,
    },
    roots=(e.AzureError,),
    by_code={
        **dict.fromkeys(("401", "403"), FatalConnectorError),
        **dict.fromkeys(("400", "413"), RefusedError),
        **dict.fromkeys(("400 PopReceiptMismatch", "404 MessageNotFound"), GoneError),
        "404 QueueNotFound": MissingQueueError,
        "409 QueueAlreadyExists": ExistsError,
        **dict.fromkeys(("408", "409", "429", "5"), NotConnected),
    },
    remedies={
        **dict.fromkeys(("401", "403", e.ClientAuthenticationError), _KEY),
        "404 QueueNotFound": "create the queue, or set `create: true`",
    },
    describe=_describe,
)


class StorageClient:
    """The client of one queue. Calls may overlap; each takes a connection of the pool."""

    def __init__(self, name: str, options: StorageQueueOptions) -> None:
        self._name = name
        self._options = options
        self._client = ClientSlot[QueueClient](f"queue {name!r}")

    @contextmanager
    def calling(self) -> Iterator[QueueClient]:
        """The library's own client; its errors are translated."""
        client = self._client.get()
        with ERRORS.translating(self._options.address):
            yield client

    async def connect(self, create: bool) -> bool:
        """Find the queue; may be called again at any time.

        Args:
            create: Make it if it is missing.

        Returns:
            Whether it was there.

        Raises:
            MissingQueueError: it is not there, and is not to be created.
        """
        self._open()
        try:
            await self.count()
        except MissingQueueError:
            if not create:
                raise
            with suppress(ExistsError), self.calling() as client:
                await client.create_queue()
                return False
        return True

    def _open(self) -> None:
        # A client that is there stays: other calls may use it, and its pool dials anew what is lost.
        if self._client.is_open:
            return
        options, timeout = self._options, self._options.timeout
        # With the transport's own option for a CA, each request would read the file and open a connection.
        trust = True if options.tls == TlsOptions() else tls_context(options.tls) or True
        session = ClientSession(
            connector=TCPConnector(ssl=trust), trust_env=True, cookie_jar=DummyCookieJar(), auto_decompress=False
        )
        self._client.put(
            QueueClient.from_connection_string(
                options.connection_string.get_secret_value(),
                self._name,
                # The engine repeats, with backoff; whether a message that was sent twice is there twice, it must know.
                retry_total=0,
                transport=AioHttpTransport(session=session, connection_timeout=timeout, read_timeout=timeout),
            )
        )

    async def count(self) -> int:
        """How many messages are in the queue, hidden ones too. It may be too high, and is never too low."""
        with self.calling() as client:
            return (await client.get_queue_properties()).approximate_message_count or 0

    async def probe(self) -> list[Probed]:
        """See `Consumer.probe`."""
        self._open()
        later = ""
        try:
            await self.count()
        except MissingQueueError:
            if not self._options.create:
                raise
            later = ": created when a worker starts"
        return [
            Probed("reachable", True, f"Azure Storage at {self._options.address} answers"),
            Probed("authorised", True, "may read the queue's properties"),
            Probed("exists", True, f"queue {self._name!r}{later or ' exists'}"),
        ]

    async def close(self) -> None:
        """Close every connection for good."""
        if (client := self._client.close()) is not None:
            await client.close()
