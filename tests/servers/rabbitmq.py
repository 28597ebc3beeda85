"""A real RabbitMQ for tests: a private node, started, killed, paused; `rabbitmq_server` is one for the session."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from penstock_kit import ServerProcess, free_port
from tests.servers.requirement import missing

ROOT = "PENSTOCK_TEST_RABBITMQ_ROOT"
"""A directory with a system of its own, as debootstrap makes one, whose RabbitMQ is run by chroot: another version."""

READY_WITHIN = 110.0  # seconds; it takes 4 to 20, and far more on a busy machine that recovers its queues

CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
heartbeat = 60
# The memory of this machine is not there to be filled, and not all of /proc can be read everywhere.
vm_memory_calculation_strategy = erlang
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
collect_statistics_interval = 60000
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {inside}/ca.pem
ssl_options.certfile = {inside}/server.pem
ssl_options.keyfile = {inside}/server.key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = EXTERNAL
ssl_cert_login_from = common_name
"""


class RabbitmqServer(ServerProcess):
    """A RabbitMQ of ours on `port` of the loopback, with TLS on `tls_port`; a test undoes what it does to it.

    A certificate of `authority` whose common name is a user's may be that user's password (mechanism EXTERNAL).

    Its port mapper (epmd) is a process of ours, too: the one that a node starts by itself outlives it.

    Args:
        script: `rabbitmq-server`, the real one and not Debian's wrapper, which insists on a user of its own.
        directory: For its data and log. With a `root` it is below that.
        *configuration: Further lines of `rabbitmq.conf`.
        root: See `ROOT`.
    """

    def __init__(self, script: str, directory: Path, *configuration: str, root: Path | None = None) -> None:
        self.host = "127.0.0.1"
        self.port, self.tls_port, mapper, distribution = (free_port() for _port in range(4))
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))
        self._output = directory / "output.log"
        inside = directory if root is None else Path("/") / directory.relative_to(root)
        text = CONFIGURATION.format(port=self.port, tls_port=self.tls_port, inside=inside)
        (directory / "rabbitmq.conf").write_text("\n".join([text, *configuration, ""]))
        (directory / "enabled_plugins").write_text("[rabbitmq_auth_mechanism_ssl].")
        self.authority = trustme.CA()
        certificate = self.authority.issue_cert("127.0.0.1")
        self.authority.cert_pem.write_to_path(directory / "ca.pem")
        certificate.cert_chain_pems[0].write_to_path(directory / "server.pem")
        certificate.private_key_pem.write_to_path(directory / "server.key")
        enter = [] if root is None else ["chroot", str(root)]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(inside),  # where Erlang keeps its cookie
            "LANG": "C.UTF-8",
            "RUNNING_UNDER_SYSTEMD": "true",  # then the script becomes the node, and does not only start it
            "RABBITMQ_NODENAME": f"penstock-{session}@localhost",
            "RABBITMQ_MNESIA_BASE": str(inside / "data"),
            "RABBITMQ_LOG_BASE": str(inside),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(inside / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(inside / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(inside / "none.config"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # One scheduler that sleeps when it has nothing to do.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -start_epmd false",
        }
        super().__init__([*enter, script], self._is_ready, self._output, environment=environment, timeout=READY_WITHIN)
        self._mapper = ServerProcess(
            [*enter, "epmd", "-port", str(mapper), "-address", "127.0.0.1"],
            lambda: _listens(mapper),
            directory / "epmd.log",
            environment=environment,
        )
        self._read = 0

    def queue(self) -> str:
        """A new name."""
        return next(self._names)

    def start(self) -> None:
        """Start it with its port mapper."""
        self._read = self._output.stat().st_size if self._output.exists() else 0
        self._mapper.start()
        try:
            super().start()
        except BaseException:
            self._mapper.kill()
            raise

    def kill(self) -> None:
        """SIGKILL, as in a crash: connections are gone, what was confirmed is not."""
        super().kill()
        self._mapper.kill()

    def stop(self) -> None:
        """End it in order, as for an upgrade."""
        super().stop()
        self._mapper.kill()

    def _is_ready(self) -> bool:
        # It opens its port before its queues are recovered.
        with self._output.open("rb") as output:
            output.seek(self._read)
            return b"Server startup complete" in output.read()


class GivenRabbitmq(RabbitmqServer):
    """The server of PENSTOCK_TEST_RABBITMQ, which is not ours to stop."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.tls_port = parts.hostname or "127.0.0.1", parts.port or 5672, 0
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))
        for call in ("start", "kill", "stop", "restart", "pause", "resume"):
            setattr(self, call, partial(missing, "rabbitmq", f"cannot {call} the server of PENSTOCK_TEST_RABBITMQ"))


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def server_script() -> tuple[str, Path | None]:
    """The node's script, and the root to run it in."""
    root = Path(os.environ[ROOT]) if os.environ.get(ROOT) else None
    script = (root or Path("/")) / "usr/lib/rabbitmq/bin/rabbitmq-server"
    if script.exists():
        return ("/usr/lib/rabbitmq/bin/rabbitmq-server", root)
    wrapper = shutil.which("rabbitmq-server")
    if root is not None or wrapper is None:
        missing(
            "rabbitmq", f"no rabbitmq-server {f'below {root}' if root else ''}; install the package rabbitmq-server"
        )
    return wrapper, None


def _directory(root: Path | None, factory: pytest.TempPathFactory) -> Path:
    if root is None:
        return factory.mktemp("rabbitmq")
    directory = root / "tmp" / f"penstock-{uuid.uuid4().hex[:8]}"
    directory.mkdir()
    return directory


@pytest.fixture(scope="session")
def own_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RabbitmqServer]]:
    """`own_rabbitmq("consumer_timeout = 1000")` starts a server, which takes seconds: share it among tests."""
    started: list[tuple[RabbitmqServer, Path]] = []

    def start(*configuration: str) -> RabbitmqServer:
        script, root = server_script()
        directory = _directory(root, tmp_path_factory)
        server = RabbitmqServer(script, directory, *configuration, root=root)
        started.append((server, directory))
        server.start()
        return server

    yield start
    for server, directory in started:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq_server(own_rabbitmq: Callable[..., RabbitmqServer]) -> RabbitmqServer:
    """The server of PENSTOCK_TEST_RABBITMQ (`amqp://host:port`), else one of ours; guest may do everything in `/`."""
    url = os.environ.get("PENSTOCK_TEST_RABBITMQ")
    return GivenRabbitmq(url) if url else own_rabbitmq()
