"""Jars that Maven fetches once, into a per-user cache; safe for test runs side by side.

python -m tests.servers.maven elasticmq-1.7.1 tests/servers/elasticmq/pom.xml    # it fails where they cannot be had
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FETCH_TIMEOUT = 900.0  # seconds; a new machine downloads 44 MB, some through a slow mirror


class UnavailableError(Exception):
    """The jars cannot be had on this machine; the text is one line that says why and what would help."""


def cache_directory() -> Path:
    """Where what was fetched lies."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "penstock-tests"


def fetch(name: str, pom: Path) -> Path:
    """The directory of a project's jars, filled by Maven on first use.

    Args:
        name: Of the directory in the cache; it ends with the version.
        pom: The project, whose dependencies are the jars.

    Raises:
        UnavailableError: Java or Maven is missing, or Maven could not fetch them.
    """
    if shutil.which("java") is None:
        raise UnavailableError("`java` is not installed (17 or newer)")
    target = cache_directory() / name
    if target.is_dir():
        return target
    if shutil.which("mvn") is None:
        raise UnavailableError("`mvn` is not installed")
    target.parent.mkdir(parents=True, exist_ok=True)
    # One download at a time; a process that waited finds the directory.
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _copy(target, pom)
    return target


def _copy(target: Path, pom: Path) -> None:
    # Beside the target and renamed at the end, so that a half-filled directory never bears its name.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as scratch:
        filling = Path(scratch) / "libs"
        command = ["mvn", "-q", "-B", "-f", str(pom.absolute()), "dependency:copy-dependencies"]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={filling}"]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=FETCH_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"Maven did not fetch it within {FETCH_TIMEOUT:.0f} s") from None
        if done.returncode != 0:
            lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
            raise UnavailableError(f"Maven could not fetch it: {' '.join(lines[:2])[:300]}")  # the first is a headline
        filling.rename(target)


if __name__ == "__main__":
    try:
        print(fetch(sys.argv[1], Path(sys.argv[2])))
    except UnavailableError as error:
        sys.exit(str(error))
