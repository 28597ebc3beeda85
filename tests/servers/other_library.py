"""An environment with a library that Penstock takes over from, for tests that run both side by side.

PENSTOCK_TEST_TAKEOVER=1 chooses these tests: they take about 20 seconds of CPU each, and a package index.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.maven import cache_directory

VARIABLE = "PENSTOCK_TEST_TAKEOVER"
INSTALL_TIMEOUT = 300.0  # seconds; a new machine downloads the library


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of an environment of its own, kept in the cache; the test is skipped where it is not wanted.

    Args:
        name: Of the environment; it ends with the library's version.
        requirements: What pip installs there on first use.
    """
    if not os.environ.get(VARIABLE):
        pytest.skip(f"{VARIABLE}=1 chooses it: it installs {requirements[0]} in an environment of its own")
    folder = cache_directory() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=INSTALL_TIMEOUT)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements]
            done = subprocess.run(pip, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT)
            if done.returncode:
                pytest.skip(f"{requirements[0]} cannot be installed: {done.stderr.strip().splitlines()[-1]}")
            (folder / "complete").touch()
    return folder / "bin" / "python"
