"""One queue's client on Service Bus: a connection that is opened anew when it is lost, and the service's errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import azure.servicebus.exceptions as e
from azure.core.exceptions import AzureError
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from penstock.client_errors import ErrorTable
from penstock.client_slot import ClientSlot
from penstock.errors import ConnectorError, FatalConnectorError, NotConnected, ProduceError
from penstock.tls import TlsOptions, certificate_problem, tls_context
from penstock_azure.servicebus.options import ServiceBusOptions

CLOSE_TIMEOUT = 3.0  # seconds that closing may take, since the service may not be there any more

Link = ServiceBusReceiver | ServiceBusSender


class GoneError(ConnectorError):
    """The lock of the message has ended, or the message is settled."""


class RefusedError(ProduceError):
    """The service will never take this."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retriable=False)


_AWAY = (
    *(OSError, TimeoutError, e.ServiceBusConnectionError, e.ServiceBusCommunicationError, e.ServiceBusServerBusyError),
    *(e.OperationTimeoutError, e.ServiceBusQuotaExceededError),
    # Somebody may create the queue, or enable it again.
    *(e.MessagingEntityNotFoundError, e.MessagingEntityDisabledError),
    # What the client itself does not expect of a connection that breaks.
    *(e.ServiceBusError, ValueError),
)
_KEY = "check `connection_string`, or the environment variable AZURE_SERVICE_BUS_CONNECTION_STRING"


def _describe(error: BaseException) -> tuple[str, str]:
    if isinstance(error, TimeoutError):
        return "no answer in time", ""
    return certificate_problem(error) or str(error).splitlines()[0] or type(error).__name__, ""


ERRORS = ErrorTable(
    "Azure Service Bus",
    {
        **dict.fromkeys(_AWAY, NotConnected),
        **dict.fromkeys((e.ServiceBusAuthenticationError, e.ServiceBusAuthorizationError), FatalConnectorError),
        **dict.fromkeys((e.MessageLockLostError, e.MessageAlreadySettled, e.MessageNotFoundError), GoneError),
        e.MessageSizeExceededError: RefusedError,
    },
    roots=(AzureError,),
    remedies={
        **dict.fromkeys((e.ServiceBusAuthenticationError, e.ServiceBusAuthorizationError), _KEY),
        e.MessagingEntityNotFoundError: "create the queue",
    },
    describe=_describe,
)


class Connection:
    """A receiver or a sender, with a connection of its own."""

    def __init__(self, name: str, options: ServiceBusOptions, receives: bool) -> None:
        self._name = name
        self._options = options
        self._receives = receives
        self._slot = ClientSlot[tuple[ServiceBusClient, Any]](f"queue {name!r}")
        self._asking = asyncio.Lock()

    @asynccontextmanager
    async def calling(self, seconds: float | None = None) -> AsyncIterator[Any]:
        """The library's receiver or sender. What takes longer than `seconds` (the option `timeout`) is given up."""
        _client, link = self._slot.get()
        try:
            with ERRORS.translating(self._options.address):
                async with asyncio.timeout(seconds or self._options.timeout):
                    yield link
        except ConnectorError:
            raise
        except Exception as error:
            if self.is_of(link):
                raise
            # A call that was under way while another one connected anew: the client may stumble over anything.
            raise NotConnected(f"Azure Service Bus at {self._options.address}: connected anew meanwhile") from error

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Any]:
        """Like `calling`, for requests: renewals, peeks, settlements of an earlier connection.

        One at a time: the client gives two requests that begin together one delivery id, and is disconnected for it.
        """
        async with self._asking, self.calling() as link:
            yield link

    def is_of(self, link: object) -> bool:
        """Whether this is the link that is open now."""
        return self._slot.is_open and self._slot.get()[1] is link

    async def open(self) -> None:
        """Connect, also again."""
        await self._disconnect()
        options = self._options
        with ERRORS.translating(options.address):
            client = ServiceBusClient.from_connection_string(
                options.connection_string.get_secret_value(),
                # The engine repeats, with backoff; whether a message that was sent twice is there twice, it must know.
                retry_total=0,
                custom_endpoint_address=options.endpoint,
                ssl_context=None if options.tls == TlsOptions() else tls_context(options.tls),
                timeout=options.timeout,
                auth_timeout=options.timeout,
            )
            # No prefetch: the locks of messages that wait in the client would end there.
            link: Link = (
                client.get_queue_receiver(self._name) if self._receives else client.get_queue_sender(self._name)
            )
            try:
                async with asyncio.timeout(options.timeout):
                    await link.__aenter__()
            except BaseException:
                await _close(client, link)
                raise
            self._slot.put((client, link))

    async def open_once(self) -> None:
        """Connect unless that was done."""
        if not self._slot.is_open:
            await self.open()

    async def close(self) -> None:
        """Close for good."""
        await self._disconnect()
        self._slot.close()

    async def _disconnect(self) -> None:
        if (held := self._slot.take()) is not None:
            await _close(*held)


async def _close(client: ServiceBusClient, link: Link) -> None:
    # What was lost cannot be closed in order.
    with suppress(AzureError, OSError, TimeoutError, ValueError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await link.close()
            await client.close()
