"""Servers that speak SQS and SNS, for tests: ElasticMQ (SQS, with its data on disk) and fauxqs (both).

`sqs_server` is the server of PENSTOCK_TEST_SQS (a URL), else ElasticMQ; with PENSTOCK_TEST_SQS=fauxqs, fauxqs gives a
second opinion. `sns_server` is always fauxqs.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from penstock_kit import ServerProcess, free_port
from tests.servers import maven, npm
from tests.servers.requirement import missing

ADDRESS = "PENSTOCK_TEST_SQS"
VERSION = "1.7.1"
FIXTURES = {"sqs_server", "own_sqs"}
HERE = Path(__file__).parent

SETTINGS = """
include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
generate-node-address = false
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
aws {{ region = "eu-west-1", accountId = "000000000000" }}
queues-storage {{ enabled = true, path = "{directory}/queues.conf" }}
messages-storage {{ enabled = true, uri = "jdbc:h2:{directory}/messages{store}" }}
"""

# Its database writes half a second after the answer, unless it waits for the disk.
SYNCED = ";WRITE_DELAY=0" if "PENSTOCK_CONFORMANCE_FULL" in os.environ else ""

# What Node asks of the system's environment, and nothing of ours.
NODE_ENVIRONMENT = ("HOME", "PATH", "TMPDIR")


class AwsServer:
    """An endpoint for SQS, and perhaps SNS.

    Attributes:
        url: The endpoint.
        host, port: Where it listens.
        process: The server, if it is ours.
        durable: Whether a test may kill it, because it comes back with its data.
        synced: Whether what it had last is among that data.
    """

    process: ServerProcess | None = None
    durable = False
    synced = False

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or "127.0.0.1"
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        session = uuid.uuid4().hex[:8]
        self._names = (f"test-{session}-{number}" for number in itertools.count(1))

    def queue(self) -> str:
        """A new name."""
        return next(self._names)

    def config(self) -> dict[str, str]:
        """Options of a connector for this server."""
        return {
            "endpoint_url": self.url,
            "region": "eu-west-1",
            "access_key_id": "test",
            "secret_access_key": "test-secret",
        }

    def answers(self) -> bool:
        """Whether it serves requests; any answer will do."""
        try:
            with urlopen(f"{self.url}/?Action=ListQueues", timeout=2):
                return True
        except HTTPError:
            return True
        except OSError:
            return False


class ElasticMq(AwsServer):
    """An ElasticMQ of ours, with strict limits.

    Args:
        jars: Its classes.
        directory: For its queues and messages, and its log.
    """

    durable = True
    synced = bool(SYNCED)

    def __init__(self, jars: Path, directory: Path) -> None:
        super().__init__(f"http://127.0.0.1:{free_port()}")
        settings = directory / "elasticmq.conf"
        settings.write_text(SETTINGS.format(port=self.port, directory=directory, store=SYNCED))
        java = [
            "java",
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            f"-Dconfig.file={settings}",
            "-cp",
            f"{jars}/*",
        ]
        self.process = ServerProcess(
            [*java, "org.elasticmq.server.Main"], self.answers, directory / "elasticmq.log", timeout=180.0
        )


class Fauxqs(AwsServer):
    """A fauxqs of ours, which keeps its messages in memory: with its store on disk, 2.4.1 answers a change of
    visibility with a fault of its database.

    Args:
        modules: npm's directory that has it.
        directory: For its log.
    """

    def __init__(self, modules: Path, directory: Path) -> None:
        super().__init__(f"http://127.0.0.1:{free_port()}")
        environment = {name: os.environ[name] for name in NODE_ENVIRONMENT if name in os.environ} | {
            "FAUXQS_PORT": str(self.port),
            "FAUXQS_HOST": "127.0.0.1",
            "FAUXQS_LOGGER": "false",
        }
        command = [npm.node(), HERE / "fauxqs" / "start.mjs", modules / "fauxqs" / "dist" / "server.js"]
        self.process = ServerProcess(
            command, self.answers, directory / "fauxqs.log", environment=environment, timeout=60.0
        )


def fauxqs(directory: Path) -> AwsServer:
    """One that is not started yet; a skipped test where it cannot be had."""
    try:
        return Fauxqs(npm.fetch(HERE / "fauxqs"), directory)
    except npm.PackageUnavailableError as error:
        missing("fauxqs", str(error))


def _sqs(directory: Path) -> AwsServer:
    wanted = os.environ.get(ADDRESS, "")
    if wanted == "fauxqs":
        return fauxqs(directory)
    return AwsServer(wanted) if wanted else own_elasticmq(directory)


def own_elasticmq(directory: Path) -> AwsServer:
    """One that is not started yet; a skipped test where it cannot be had."""
    try:
        return ElasticMq(maven.fetch(f"elasticmq-{VERSION}", HERE / "elasticmq" / "pom.xml"), directory)
    except maven.UnavailableError as error:
        missing("elasticmq", f"no ElasticMQ: {error}, and {ADDRESS} is not set")


def _running(server: AwsServer) -> Iterator[AwsServer]:
    if server.process is None:
        yield server
        return
    server.process.start()
    try:
        yield server
    finally:
        server.process.kill()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch the jars before the first test: a download on a new machine may take longer than a test may."""
    if session.config.getoption("collectonly") or os.environ.get(ADDRESS):
        return
    if any(FIXTURES & set(getattr(item, "fixturenames", ())) for item in session.items):
        try:
            maven.fetch(f"elasticmq-{VERSION}", HERE / "elasticmq" / "pom.xml")
        except maven.UnavailableError:
            return  # told by the fixture, to each test that needs it


@pytest.fixture(scope="session")
def sqs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """A server for SQS; a test that kills or pauses it brings it back."""
    yield from _running(_sqs(tmp_path_factory.mktemp("sqs")))


@pytest.fixture(scope="session")
def sns_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsServer]:
    """A server for SQS and SNS together."""
    yield from _running(fauxqs(tmp_path_factory.mktemp("fauxqs")))
