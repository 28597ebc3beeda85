"""Starts the broker when there is none."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys

from penstock.errors import FatalConnectorError, NotConnected
from penstock_memory.address import Address
from penstock_memory.server import TAKEN

START_TIMEOUT = 30.0
"""Seconds for a Python to start and listen, on a machine that is busy."""


async def launch(address: Address, linger: float, keep: float) -> bool:
    """Start a broker in the background.

    Returns:
        True if it listens now; False if another one has, or is about to have, the address.

    Raises:
        FatalConnectorError: no broker can listen there.
        NotConnected: it did not start in time.
    """
    # -P: the working directory must not be able to bring its own `penstock_memory`.
    command = [sys.executable, "-P", "-m", "penstock_memory.server", address.url, "--detach"]
    command += [f"--linger={linger}", f"--keep={keep}"]
    # The thread: a start takes about 100 ms, in which this loop has other work.
    try:
        done = await asyncio.to_thread(_run, command)
    except subprocess.TimeoutExpired:
        raise NotConnected(f"the broker at {address.url} did not start within {START_TIMEOUT:g} s") from None
    except OSError as error:
        raise FatalConnectorError(
            f"cannot start {sys.executable or 'Python'} ({error.strerror}) to serve {address.url};"
            " start the broker yourself: python -m penstock_memory.server URL"
        ) from error
    if done.returncode not in (0, TAKEN):
        reason = done.stderr.strip().splitlines()[-1:] or [f"the broker ended with exit code {done.returncode}"]
        raise FatalConnectorError(reason[0])
    return done.returncode == 0


def check_owner(address: Address) -> None:
    """Refuse a socket that another user has put where ours is expected.

    Raises:
        FatalConnectorError: it belongs to someone else, or is no socket.
        FileNotFoundError: there is none.
    """
    if not address.path:
        return
    status = os.lstat(address.path)
    if not stat.S_ISSOCK(status.st_mode):
        raise FatalConnectorError(
            f"{address.url}: there is a file of that name, which is no socket; choose another path"
        )
    if status.st_uid != os.geteuid():
        raise FatalConnectorError(
            f"{address.url}: the socket belongs to another user; choose a path in a directory of yours"
        )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  (our own interpreter, our own module, a validated URL)
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_TIMEOUT, check=False
    )
