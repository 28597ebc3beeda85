"""For connectors: where the client is kept, between `connect` and `shutdown`, and what to raise while there is none."""

from __future__ import annotations

from typing import Generic, TypeVar

from penstock.errors import ConnectorError, NotConnected

Client = TypeVar("Client")


class ClientSlot(Generic[Client]):
    """Holds the client of a connector.

        self._client = ClientSlot[Client](f"queue {name!r}")
        self._client.put(await connect())     # in connect, also again
        self._client.get().send(...)          # in any other method
        if client := self._client.close():    # in shutdown
            await client.close()

    Args:
        owner: What errors say is not connected.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._client: Client | None = None
        self._lost: ConnectorError | None = None
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether `get` would return a client."""
        return self._client is not None and self._lost is None

    def get(self) -> Client:
        """The client.

        Raises:
            NotConnected: `connect` has not succeeded yet.
            ConnectorError: the slot was closed, or what `lose` was given.
        """
        if self._client is not None and self._lost is None:
            return self._client
        if self._closed:
            raise ConnectorError(f"{self._owner} is closed")
        if self._lost is not None:
            raise type(self._lost)(str(self._lost))  # a new one: each caller adds its own traceback
        raise NotConnected(f"{self._owner} is not connected yet")

    def put(self, client: Client) -> None:
        """Keep a client that is connected; the one before it must have been taken.

        Raises:
            ConnectorError: the slot was closed meanwhile; then the caller closes the client.
        """
        if self._closed:
            raise ConnectorError(f"{self._owner} is closed")
        self._client, self._lost = client, None

    def lose(self, error: ConnectorError) -> None:
        """The connection is gone: `get` raises this error until the next `put`. The first reason stays."""
        self._lost = self._lost or error

    def take(self) -> Client | None:
        """Empty the slot, to close the client before a new connection is made."""
        client, self._client, self._lost = self._client, None, None
        return client

    def close(self) -> Client | None:
        """Empty the slot for good."""
        self._closed = True
        return self.take()
