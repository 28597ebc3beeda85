"""One table: what the operating system says, and what the engine shall do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from penstock.errors import FatalConnectorError, NotConnected


@contextmanager
def told(what: str) -> Iterator[None]:
    """Raise what the contract asks for instead of an `OSError`."""
    try:
        yield
    except PermissionError as error:
        # No waiting will help: the engine stops and says why.
        raise FatalConnectorError(f"{what}: {error}") from error
    except OSError as error:
        # Not mounted, disk full, network gone: the engine waits, connects again and goes on.
        raise NotConnected(f"{what}: {error}") from error
