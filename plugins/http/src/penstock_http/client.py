"""The session of one queue: how requests are made, what their errors mean, and how long an answer says to wait."""

from __future__ import annotations

import socket
import time
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from ipaddress import IPv6Address, ip_address
from types import MappingProxyType

import aiohttp
from multidict import CIMultiDict

from penstock.client_errors import ErrorTable
from penstock.client_slot import ClientSlot
from penstock.errors import FatalConnectorError, NotConnected
from penstock.tls import certificate_problem, tls_context
from penstock_http.options import HttpOptions

LONGEST_WAIT = 3600.0  # seconds; a server that asks for more is asked again before


class PrivateAddress(OSError):
    """The address belongs to a private network, and the URL came with a record."""


def _describe(error: BaseException) -> tuple[str, str]:
    if problem := certificate_problem(error):
        return problem, ""
    if isinstance(error, TimeoutError):
        return "no answer in time (`timeout`, `connect_timeout`)", ""
    # Texts of the client quote URLs, and those may hold secrets in their query.
    cause = getattr(error, "os_error", error)
    return getattr(cause, "strerror", None) or type(error).__name__, ""


ERRORS = ErrorTable(
    "HTTP",
    {
        aiohttp.ClientError: NotConnected,
        OSError: NotConnected,
        TimeoutError: NotConnected,
        aiohttp.InvalidURL: FatalConnectorError,
    },
    describe=_describe,
)


class HttpClient:
    """A session that is opened, and opened anew after it was lost.

    Args:
        name: The queue's name, for errors.
        options: Of the queue.
        headers: Further ones of each request, unless the options have them.
        public_only: Refuse to connect to private addresses.
    """

    def __init__(
        self, name: str, options: HttpOptions, headers: Mapping[str, str] = MappingProxyType({}), *,
        public_only: bool = False,
    ) -> None:  # fmt: skip
        self._options = options
        self._own_headers = headers
        self._public_only = public_only
        self._slot = ClientSlot[aiohttp.ClientSession](f"queue {name!r}")

    @property
    def session(self) -> aiohttp.ClientSession:
        """See `ClientSlot.get`."""
        return self._slot.get()

    async def open(self) -> None:
        """Make a session, and close the one before."""
        options = self._options
        try:
            context = tls_context(options.tls)
        except OSError as error:
            raise FatalConnectorError(f"`tls`: a file is not a certificate or key, or does not fit: {error}") from error
        await self._end()
        connector = aiohttp.TCPConnector(
            ssl=context or True,
            limit=options.max_connections,
            limit_per_host=options.max_connections_per_host,
            keepalive_timeout=options.keepalive,
            # What is connected to is what was checked, whatever a name resolved to before.
            socket_factory=_public_socket if self._public_only else None,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(options.timeout, options.connect_timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers(),
        )
        self._slot.put(session)

    def _headers(self) -> CIMultiDict[str]:
        options = self._options
        headers = CIMultiDict({"User-Agent": "penstock", **self._own_headers})
        headers.update({name: value.get_secret_value() for name, value in options.headers.items()})
        if options.token:
            headers["Authorization"] = f"Bearer {options.token.get_secret_value()}"
        if options.username is not None and options.password:
            pair = f"{options.username}:{options.password.get_secret_value()}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        return headers

    async def close(self) -> None:
        """Close it for good."""
        await self._end()
        self._slot.close()

    async def _end(self) -> None:
        if (session := self._slot.take()) is not None:
            await session.close()


def wait_asked_for(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks to wait, at most an hour; None if it is not there, or not understood."""
    text = headers.get("Retry-After", "")
    with suppress(ValueError):
        seconds = float(text) if text.isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
        return min(max(seconds, 0.0), LONGEST_WAIT)
    return None


def is_public(text: str) -> bool:
    """Whether an address is one of the internet: not private, of this machine, of the link, or one that leads there."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and (inner := address.ipv4_mapped or address.sixtofour):
        address = inner
    return address.is_global and not address.is_multicast and not address.is_reserved


def _public_socket(found: tuple[int, int, int, str, tuple[str, int]]) -> socket.socket:
    family, kind, protocol, _, place = found
    if not is_public(place[0]):
        raise PrivateAddress(0, "a record's URL leads to a private address; `allow_private` would permit it")
    return socket.socket(family, kind, protocol)
