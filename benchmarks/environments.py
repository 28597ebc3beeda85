"""Environments of their own for contenders that need other packages than Penstock does."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock-benchmarks"


def python_for(requirements: Sequence[str]) -> str:
    """A Python that has these requirements; ours if there are none. The environment is made once and kept."""
    if not requirements:
        return sys.executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = FOLDER / f"{version}-{sha256(repr(requirements).encode()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        print(f"installing {', '.join(requirements)} into {folder}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *requirements, "pydantic>=2"], check=True)
        (folder / "complete").touch()
    return str(python)
