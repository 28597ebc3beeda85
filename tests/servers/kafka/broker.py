"""A Kafka broker of our own: one node, from its jars, in a temporary directory, on free ports of 127.0.0.1."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from penstock_kit import free_port
from tests.servers.kafka.jars import CLASSES, BrokerUnavailableError
from tests.servers.kafka.server import PASSWORD, READY_TIMEOUT, USER, KafkaServer, wait_until_ready

STOP_TIMEOUT = 30.0  # seconds for an orderly stop
FORMAT_TIMEOUT = 300.0  # seconds; 3 are usual, and a busy machine took more than 120

QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""For Java: tests start more brokers than they load, and compiling well takes longer than most of them run."""

# Ends the broker when the test process dies in whatever way: the kernel then closes our end of its standard input.
GUARD = """
log=$1; shift
exec 3<&0
"$@" 3<&- </dev/null >>"$log" 2>&1 &
broker=$!
echo $broker
(read _ <&3; kill -9 $broker) 2>/dev/null &
wait $broker
kill $! 2>/dev/null
"""

# A broker that was killed is let in again only when its old session has expired, after 9 s by default; joining a group
# waits 3 s for more members by default.
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},SASL://127.0.0.1:{sasl},PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker},SASL://127.0.0.1:{sasl},PROXIED://127.0.0.1:{proxy}{listeners}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config={module} required user_{user}="{password}";
log.dirs={logs}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.heartbeat.interval.ms=300
broker.session.timeout.ms=1500
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
auto.create.topics.enable=false
offsets.topic.num.partitions=4
num.recovery.threads.per.data.dir=4
transaction.state.log.num.partitions=4
num.partitions=4
share.coordinator.state.topic.num.partitions=4
log.segment.delete.delay.ms=500
log.index.size.max.bytes=65536
group.share.min.heartbeat.interval.ms=100
group.share.heartbeat.interval.ms=200
group.share.min.session.timeout.ms=1000
group.share.session.timeout.ms=2000
group.share.min.record.lock.duration.ms=1000
group.share.max.delivery.count.limit=25
{more}
"""


class More(NamedTuple):
    """What another kind of broker adds.

    Attributes:
        listeners: To the list of listeners, beginning with a comma.
        protocols: To the map of their protocols, likewise.
        properties: Further lines.
        format: Arguments of the tool that formats the storage.
    """

    listeners: str = ""
    protocols: str = ""
    properties: str = ""
    format: Sequence[str] = ()


class Broker(KafkaServer):
    """A real broker as a child process.

    Args:
        jars: The directory of its jars; with `CLASSES` in it, it starts in a third of the time.
        options: For Java; `()` for a broker that is to be fast rather than to start fast.

    Raises:
        BrokerUnavailableError: it does not start on this machine; the text ends with its own last words.
    """

    def __init__(self, jars: Path, options: Sequence[str] = QUICK) -> None:
        super().__init__()
        self._java = ["java", *options, "-cp", f"{jars}/*"]
        if (jars / CLASSES).exists():
            self._java[1:1] = [f"-XX:SharedArchiveFile={jars / CLASSES}"]
        self._directory = Path(tempfile.mkdtemp(prefix="penstock-kafka-"))
        self._guard: subprocess.Popen[str] | None = None
        self._pid = 0
        try:
            self._set_up()
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        if self._guard is not None:
            raise RuntimeError("the broker runs already")
        java = [*self._java, "-Xmx768m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command = ["sh", "-c", GUARD, "sh", str(self._log), *java, "kafka.Kafka", str(self._properties)]
        self._guard = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self._guard.stdout is not None
        self._pid = int(self._guard.stdout.readline())
        try:
            wait_until_ready(self.bootstrap, READY_TIMEOUT)
        except TimeoutError as error:
            raise BrokerUnavailableError(
                f"no real Kafka broker: it did not start: {error}; {self._last_words()}"
            ) from None

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def close(self) -> None:
        if self._guard is not None:
            self._end(signal.SIGKILL)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _set_up(self) -> None:
        broker, controller, sasl, behind, proxy = (free_port() for _port in range(5))
        self.bootstrap = f"127.0.0.1:{broker}"
        self.sasl_bootstrap = f"127.0.0.1:{sasl}"
        self.behind_proxy = (behind, proxy)
        self._log = self._directory / "broker.log"
        self._properties = self._directory / "server.properties"
        more = self._more()
        self._properties.write_text(
            PROPERTIES.format(
                listeners=more.listeners,
                protocols=more.protocols,
                more=more.properties,
                broker=broker,
                controller=controller,
                sasl=sasl,
                behind=behind,
                proxy=proxy,
                module="org.apache.kafka.common.security.plain.PlainLoginModule",
                user=USER,
                password=PASSWORD,
                logs=self._directory / "logs",
            ),
            encoding="utf-8",
        )
        cluster = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
        # An id that begins with '-' would be read as an option.
        cluster = "p" + cluster[1:]
        command = [*self._java, "kafka.tools.StorageTool", "format", "--standalone"]
        command += ["-t", cluster, "-c", str(self._properties), *more.format]
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORMAT_TIMEOUT, check=False)
        if done.returncode != 0:
            last = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["no output"]
            raise BrokerUnavailableError(f"no real Kafka broker: its storage cannot be formatted: {last[0][:300]}")

    def _more(self) -> More:
        """What a subclass adds; called once, before the properties are written."""
        return More()

    def _end(self, how: signal.Signals) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            raise RuntimeError("the broker does not run")
        with guard:
            with suppress(ProcessLookupError):  # it has ended by itself, and its last words say why
                os.kill(self._pid, how)
                os.kill(self._pid, signal.SIGCONT)
            try:
                guard.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.kill(self._pid, signal.SIGKILL)

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it wrote nothing"
