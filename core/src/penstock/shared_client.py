"""For connectors whose client blocks: one client for several threads, opened again when it is lost.

self._server = SharedClient(f"queue {name!r}", address, ERRORS, connect=lambda: acme.Client(address, timeout=5))

connect:     fresh = self._server.open(answers=acme.Client.ping)
elsewhere:   with self._server.client() as client: client.send(...)
shutdown:    self._server.close()
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

from penstock.client_errors import ErrorTable
from penstock.client_slot import ClientSlot
from penstock.errors import ConnectorError, NotConnected


class Closable(Protocol):
    """What a client must have."""

    def close(self) -> object:
        """Close its connection."""


C = TypeVar("C", bound=Closable)


class SharedClient(Generic[C]):
    """Lends a client to one thread at a time, and translates its errors.

    Args:
        owner: What errors say is not connected.
        address: The server, for errors.
        errors: What the client's errors mean.
        connect: Makes a client that is connected.
    """

    def __init__(self, owner: str, address: str, errors: ErrorTable, connect: Callable[[], C]) -> None:
        self._address = address
        self._errors = errors
        self._connect = connect
        self._slot = ClientSlot[C](owner)
        self._lock = threading.Lock()

    def open(self, answers: Callable[[C], object]) -> bool:
        """Connect, unless there is a client that still answers, so that its deliveries stay valid.

        Args:
            answers: Asks the server something that changes nothing; raises if it does not answer.

        Returns:
            Whether the connection is a new one.
        """
        try:
            with self.client() as client:
                answers(client)
        except NotConnected:
            self._drop()
        else:
            return False
        with self._errors.translating(self._address):
            client = self._connect()
        try:
            self._slot.put(client)
        except ConnectorError:  # closed meanwhile
            client.close()
            raise
        return True

    @contextmanager
    def client(self) -> Iterator[C]:
        """The client, for this thread alone. After `NotConnected`, perhaps in the middle of an answer, it is lost."""
        with self._lock:
            client = self._slot.get()
            try:
                with self._errors.translating(self._address):
                    yield client
            except NotConnected as error:
                self._slot.lose(error)
                raise

    def close(self) -> None:
        """Close for good; a second time does nothing."""
        self._drop()
        self._slot.close()

    def _drop(self) -> None:
        if (client := self._slot.take()) is not None:
            with suppress(Exception):  # the connection may be broken
                client.close()
