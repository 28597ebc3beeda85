"""The broker as a process of its own: `python -m penstock_memory.server URL`.

Any number may be started for one URL at once: one of them listens, the others end. For a unix socket a locked file
beside it (`….lock`) decides, and stays, because removing it would let two win; for tcp the port decides.

Exit codes: 0 it listened, and ended unused or by a signal (with `--detach`: it listens); 3 another one listens already;
1 it cannot listen here.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import fcntl
import os
import signal
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from penstock_memory.address import Address
from penstock_memory.broker import Broker

TAKEN = 3
"""The exit code for "another one listens already"."""

BACKLOG = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Listen and serve. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m penstock_memory.server", description="Shares queues in memory.")
    parser.add_argument("url", type=_address, help="unix:///absolute/path.sock or tcp://127.0.0.1:PORT")
    parser.add_argument("--linger", type=float, default=10.0, help="seconds to stay unused while all queues are empty")
    parser.add_argument("--keep", type=float, default=3600.0, help="seconds to stay unused while messages are left")
    parser.add_argument(
        "--detach", action="store_true", help="return as soon as it listens, and serve in the background"
    )
    options = parser.parse_args(arguments)
    address: Address = options.url
    try:
        claimed = claim(address)
    except OSError as error:
        sys.stderr.write(f"cannot listen at {address.url}: {error.strerror or error}\n")
        return 1
    if claimed is None:
        return TAKEN
    if options.detach and not _go_to_the_background():
        return 0
    claimed.sign()
    asyncio.run(_serve(claimed.listener, address, options))
    return 0


@dataclass(frozen=True, slots=True)
class Claim:
    """An address that is ours for as long as this process lives.

    Attributes:
        listener: A socket that listens there.
        lock: Of a unix socket, the descriptor of the locked file; -1 for tcp. It is never closed: the lock ends with
            the process, and not a moment earlier.
    """

    listener: socket.socket
    lock: int = -1

    def sign(self) -> None:
        """Write our process id into the locked file, for people who look who is there."""
        if self.lock >= 0:
            os.ftruncate(self.lock, 0)
            os.pwrite(self.lock, f"{os.getpid()}\n".encode(), 0)


def claim(address: Address) -> Claim | None:
    """Listen; None if another process does.

    Raises:
        OSError: nobody can listen here.
    """
    if address.path:
        return _claim_path(address.path)
    listener = socket.socket(address.family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return Claim(listener)


def _claim_path(path: str) -> Claim | None:
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    lock = os.open(path + ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "there is a file of that name, which is no socket", path)
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # For this user only, from its first moment; the process has no other thread that creates files.
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    return Claim(listener, lock)


def _go_to_the_background() -> bool:
    """Split in two; True in the one that serves, which has no terminal, no parent and no open output."""
    if os.fork():
        return False
    os.setsid()
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
    return True


async def _serve(listener: socket.socket, address: Address, options: argparse.Namespace) -> None:
    broker = Broker(options.linger, options.keep)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, broker.stop)
    server = await asyncio.start_server(broker.serve, sock=listener)
    await broker.until_unused()
    # No await before the socket is gone: a client that comes now finds nothing, and starts the next broker.
    server.close()
    if address.path:
        with suppress(FileNotFoundError):
            os.unlink(address.path)
    await broker.close()


def _address(url: str) -> Address:
    try:
        return Address.parse(url)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
