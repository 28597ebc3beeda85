"""The jars of a Kafka broker: fetched once by Maven, kept in a per-user cache, safe for test runs side by side."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "4.3.1"
POM = Path(__file__).with_name("pom.xml")
FETCH_TIMEOUT = 900.0  # seconds; a new machine downloads 44 MB, some through a slow mirror


class BrokerUnavailableError(Exception):
    """This machine cannot run a real broker; the text is one line that says why and what would help."""


def cache_directory() -> Path:
    """Where the jars lie once they were fetched."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "penstock-tests" / f"kafka-{VERSION}"


def fetch() -> Path:
    """The directory of the jars, filled by Maven on first use.

    Raises:
        BrokerUnavailableError: Java or Maven is missing, or Maven could not fetch them.
    """
    if shutil.which("java") is None:
        raise BrokerUnavailableError(
            "no real Kafka broker: `java` is not installed (17 or newer), and PENSTOCK_TEST_KAFKA is not set"
        )
    target = cache_directory()
    if target.is_dir():
        return target
    if shutil.which("mvn") is None:
        raise BrokerUnavailableError("no real Kafka broker: `mvn` is not installed, and PENSTOCK_TEST_KAFKA is not set")
    target.parent.mkdir(parents=True, exist_ok=True)
    # One download at a time; a process that waited finds the directory.
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _copy_with_maven(target)
    return target


def _copy_with_maven(target: Path) -> None:
    # Beside the target and renamed at the end, so that a half-filled directory never bears its name.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as scratch:
        filling = Path(scratch) / "libs"
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={filling}"]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=FETCH_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise BrokerUnavailableError(
                f"no real Kafka broker: Maven did not fetch it within {FETCH_TIMEOUT:.0f} s"
            ) from None
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
            raise BrokerUnavailableError(f"no real Kafka broker: Maven could not fetch it: {lines[0][:300]}")
        filling.rename(target)
