"""Where a broker listens: `unix:///absolute/path.sock` or `tcp://127.0.0.1:port`, on this machine only."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

MAX_PATH = 100
"""Bytes of a socket's path. The system's limit is 104 or 108, and its error does not say so."""


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed `url:`.

    Attributes:
        url: As it was written.
        path: Of the socket; empty for tcp.
        host, port: For tcp.
    """

    url: str
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read a URL.

        Raises:
            ValueError: it is none of the two forms, or leads away from this machine.
        """
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return cls(url, path=_socket_path(url, parts.netloc, parts.path))
        if parts.scheme == "tcp":
            host, port = parts.hostname or "", parts.port
            if not port or parts.path or not _is_loopback(host):
                raise ValueError(f"{url!r} is not of this machine; write tcp://127.0.0.1:PORT")
            return cls(url, host=host, port=port)
        raise ValueError(f"{url!r} is no address of a broker; write unix:///absolute/path.sock or tcp://127.0.0.1:PORT")

    @property
    def family(self) -> socket.AddressFamily:
        """The kind of socket."""
        if self.path:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET


def _socket_path(url: str, netloc: str, path: str) -> str:
    if netloc or not os.path.isabs(path) or path.endswith("/"):
        raise ValueError(f"{url!r} has no absolute path of a socket; write unix:///absolute/path.sock, three slashes")
    if len(os.fsencode(path)) > MAX_PATH:
        raise ValueError(f"{url!r}: the path of a socket has at most {MAX_PATH} bytes; choose a shorter one")
    return path


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
