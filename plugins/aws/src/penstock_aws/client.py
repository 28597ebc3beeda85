"""A client of one AWS service: opened once, and its errors are Penstock's."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

from penstock.client_slot import ClientSlot
from penstock.errors import ConnectorError
from penstock_aws.errors import ERRORS
from penstock_aws.options import AwsOptions

CONNECTIONS = 100  # in the pool; each call under way has one

_loader = cache(create_loader)  # the descriptions of all services, which take a moment to read


class Aws:
    """Calls one service. HTTP has no connection to lose, so one client lasts as long as its connector.

    Args:
        service: "sqs" or "sns".
        owner: What errors say is not connected.
        region: The queue's or topic's own, where the options have none.
    """

    def __init__(self, service: str, owner: str, options: AwsOptions, region: str | None) -> None:
        self._service = service
        self._options = options
        self._region = options.region or region
        self.address = options.endpoint_url or f"{service} in {self._region or 'the default region'}"
        self._client = ClientSlot[Any](owner)

    async def open(self) -> None:
        """Make the client, unless it is there."""
        if self._client.is_open:
            return
        options = self._options
        with ERRORS.translating(self.address):
            session = AioSession(profile=options.profile)
            loader: Loader = _loader()
            session.register_component("data_loader", loader)
            # The engine repeats what fails, and knows which messages it was about.
            config = AioConfig(
                connect_timeout=options.timeout, read_timeout=None, retries={"total_max_attempts": 1},
                max_pool_connections=CONNECTIONS, client_cert=options.tls.cert and (options.tls.cert, options.tls.key),
            )  # fmt: skip
            # Without TLS nothing is verified, and to read the certificates of all authorities takes 40 ms.
            plain = (options.endpoint_url or "").startswith("http://")
            context = session.create_client(
                self._service, self._region, endpoint_url=options.endpoint_url, config=config,
                verify=False if plain or options.tls.insecure_skip_verify else options.tls.ca,
                aws_access_key_id=options.access_key_id,
                aws_secret_access_key=options.secret_access_key and options.secret_access_key.get_secret_value(),
                aws_session_token=options.session_token and options.session_token.get_secret_value(),
            )  # fmt: skip
            client = await context.__aenter__()
        try:
            self._client.put(client)
        except ConnectorError:
            await client.close()
            raise

    async def call(self, operation: str, wait: float = 0.0, **parameters: Any) -> Any:
        """Make one call, by the name that aiobotocore has for it.

        Args:
            operation: Such as "send_message_batch".
            wait: Seconds that the server may wait before it answers.
            **parameters: As AWS names them.

        Raises:
            NotConnected: no answer, or one that says to try again.
            FatalConnectorError: it will never work like this.
            ConnectorError: the service refuses these parameters.
        """
        with ERRORS.translating(self.address):
            async with asyncio.timeout(self._options.timeout + wait):
                return await getattr(self._client.get(), operation)(**parameters)

    async def close(self) -> None:
        """Close the client for good."""
        if client := self._client.close():
            await client.close()
