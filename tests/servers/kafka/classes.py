"""The classes of a broker, kept ready beside its jars: it starts with a third of the CPU time."""

from __future__ import annotations

import fcntl
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.servers.kafka.broker import QUICK, Broker
from tests.servers.kafka.jars import CLASSES, BrokerUnavailableError


def keep_ready(jars: Path) -> None:
    """Run a broker once and write down what it loads; nothing is done where that has been done."""
    if (jars / CLASSES).exists():
        return
    # One process does it; one that waited finds the file.
    with (jars / f"{CLASSES}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (jars / CLASSES).exists():
            return
        with tempfile.TemporaryDirectory(dir=jars) as scratch, suppress(BrokerUnavailableError, OSError):
            written = Path(scratch) / CLASSES
            broker = Broker(jars, options=(*QUICK, f"-XX:ArchiveClassesAtExit={written}"))
            try:
                broker.stop()
            finally:
                broker.close()
            written.rename(jars / CLASSES)
