"""pstest, built once by Go and kept in a per-user cache, safe for test runs side by side."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent
BUILD_TIMEOUT = 1200.0  # seconds; a new machine downloads 40 modules and compiles them, which takes 1.5 minutes of CPU


class PstestUnavailableError(Exception):
    """This machine cannot build pstest; the text is one line that says why and what would help."""


def program() -> Path:
    """The program, built on first use.

    Raises:
        PstestUnavailableError: Go is missing, or could not build it.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    inputs = b"".join((SOURCES / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    target = Path(root) / "penstock-tests" / f"pstest-{hashlib.sha256(inputs).hexdigest()[:16]}"
    if target.exists():
        return target
    if shutil.which("go") is None:
        raise PstestUnavailableError(
            "no Pub/Sub: `go` is not installed, and PENSTOCK_TEST_PUBSUB_JAR names no emulator"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    # One build at a time; a process that waited finds the program.
    with (target.parent / "pstest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(target)
    return target


def _build(target: Path) -> None:
    # Renamed at the end, so that a half-written program never bears its name.
    scratch = target.with_suffix(f".{os.getpid()}")
    command = ["go", "build", "-p", "2", "-o", str(scratch), "."]
    try:
        done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise PstestUnavailableError(f"no Pub/Sub: Go did not build it within {BUILD_TIMEOUT:.0f} s") from None
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no output"]
        raise PstestUnavailableError(f"no Pub/Sub: Go could not build it: {lines[-1][:300]}")
    scratch.rename(target)
