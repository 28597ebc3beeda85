"""One channel to Pub/Sub, its calls and their errors; and topic and subscription, found or created."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google.auth
import grpc
from google.api_core.exceptions import AlreadyExists, NotFound, PermissionDenied
from google.oauth2.service_account import Credentials
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import Subscription

from penstock.client_slot import ClientSlot
from penstock.connectors import Probed
from penstock.errors import FatalConnectorError, NotConnected
from penstock_gcp.errors import ERRORS
from penstock_gcp.options import PubSubOptions

SHORTEST, LONGEST = 10, 600  # seconds that a subscription's own ack deadline may have

log = logging.getLogger("penstock.gcp")


@dataclass(frozen=True)
class Clients:
    """Google's clients over one channel."""

    channel: grpc.aio.Channel
    publisher: PublisherAsyncClient
    subscriber: SubscriberAsyncClient


class PubSubClient:
    """Calls for one queue. After one that found the service away, all raise `NotConnected` until `open`."""

    def __init__(self, name: str, options: PubSubOptions) -> None:
        self.topic = options.topic_path(name)
        self.subscription = options.subscription_path(name)
        self.has_topic = "/topics/" in self.topic
        self._options = options
        self._slot = ClientSlot[Clients](f"queue {name!r}")

    async def open(self) -> None:
        """Make a channel, also again."""
        await self._disconnect()
        with ERRORS.translating(self._options.address):
            channel = await _channel(self._options)
        self._slot.put(
            Clients(
                channel,
                PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel)),
                SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel)),
            )
        )

    async def call(self, method: str, request: Any, timeout: float = 0.0) -> Any:
        """Call a method of the publisher or the subscriber; a call without an answer within `timeout` failed."""
        with ERRORS.translating(self._options.address):
            return await self.ask(method, request, timeout)

    async def ask(self, method: str, request: Any, timeout: float = 0.0) -> Any:
        """Call a method as `call` does, but raise the errors of the client library as they are."""
        clients = self._slot.get()
        service = clients.subscriber if hasattr(clients.subscriber, method) else clients.publisher
        try:
            # The client's own repetitions would hide for a minute that the service is away.
            return await getattr(service, method)(request, retry=None, timeout=timeout or self._options.timeout)
        except Exception as error:
            translated = ERRORS.translate(error, self._options.address)
            if isinstance(translated, NotConnected):
                self._slot.lose(translated)
            raise

    async def find_topic(self, create: bool) -> bool | None:
        """Whether the topic was there; it is created if it may be. None: this account may not look.

        Raises:
            FatalConnectorError: it does not exist.
        """
        with ERRORS.translating(self._options.address):
            try:
                await self.ask("get_topic", {"topic": self.topic})
                return True
            except PermissionDenied:
                return None
            except NotFound:
                if not create:
                    raise self._missing(f"topic {self.topic!r}") from None
            try:
                await self.ask("create_topic", {"name": self.topic})
            except AlreadyExists:
                return True
            return False

    async def find_subscription(self, create: bool) -> Subscription | None:
        """The subscription; it is created, with its topic, if it may be. None: this account may not look.

        Raises:
            FatalConnectorError: it does not exist.
        """
        asked = {"subscription": self.subscription}
        with ERRORS.translating(self._options.address):
            try:
                return await self.ask("get_subscription", asked)  # type: ignore[no-any-return]
            except PermissionDenied:
                return None
            except NotFound:
                if not create or not self.has_topic:
                    raise self._missing(f"subscription {self.subscription!r}") from None
            await self.find_topic(create)
            try:
                return await self.ask("create_subscription", self._wanted())  # type: ignore[no-any-return]
            except AlreadyExists:
                return await self.ask("get_subscription", asked)  # type: ignore[no-any-return]

    def _wanted(self) -> Mapping[str, Any]:
        return {
            "name": self.subscription,
            "topic": self.topic,
            "ack_deadline_seconds": max(SHORTEST, self._options.ack_deadline),
            "enable_message_ordering": self._options.ordering,
            "enable_exactly_once_delivery": self._options.exactly_once,
            # Without it the service deletes a subscription that no worker has used for 31 days.
            "expiration_policy": {},
        }

    def _missing(self, what: str) -> FatalConnectorError:
        return FatalConnectorError(
            f"Google Pub/Sub at {self._options.address} has no {what}; make it with `penstock queue CONFIG create`, or "
            "set `create: true`"
        )

    async def probe(self, role: str) -> list[Probed]:
        """See `Consumer.probe`."""
        own = PubSubClient(self.topic, self._options)
        try:
            await own.open()
            what = own.subscription if role == "input" else own.topic
            found = await (own.find_subscription(False) if role == "input" else own.find_topic(False))
        finally:
            await own.close()
        reached = Probed("reachable", True, f"Google Pub/Sub at {self._options.address} answers")
        if found is None:
            return [reached, Probed("exists", None, f"this account may not look whether {what} exists")]
        return [reached, Probed("authorised", True, "the account is known"), Probed("exists", True, f"{what} exists")]

    async def close(self) -> None:
        """Close the channel for good."""
        await self._disconnect()
        self._slot.close()

    async def _disconnect(self) -> None:
        if (clients := self._slot.take()) is not None:
            await clients.channel.close()


async def _channel(options: PubSubOptions) -> grpc.aio.Channel:
    settings = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", int(options.timeout * 1000)),
        # A new channel is a new connection: not one that another queue has found broken, and waits with.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if options.emulator is not None:
        return grpc.aio.insecure_channel(options.emulator, settings)
    # It reads files, and may ask a server which machine this is.
    account, authorities = await asyncio.to_thread(_credentials, options)
    return SubscriberGrpcAsyncIOTransport.create_channel(
        options.endpoint,
        credentials=account,
        ssl_credentials=grpc.ssl_channel_credentials(authorities),
        options=settings,
    )


def _credentials(options: PubSubOptions) -> tuple[Any, bytes | None]:
    scopes = SubscriberGrpcAsyncIOTransport.AUTH_SCOPES
    key = "ca"
    try:
        authorities = None if options.ca is None else Path(options.ca).read_bytes()
        key = "service_account"
        if options.service_account is not None:
            return Credentials.from_service_account_file(options.service_account, scopes=scopes), authorities  # type: ignore[no-untyped-call]
        return google.auth.default(scopes=scopes)[0], authorities
    except (ValueError, OSError) as error:
        # Not chained: the parser's text may quote the file.
        raise FatalConnectorError(f"the file of `{key}` cannot be used ({type(error).__name__})") from None
