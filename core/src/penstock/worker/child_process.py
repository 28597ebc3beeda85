"""One of several processes of a worker: which number it has, and what it tells the process that watches it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from penstock.observability.log_formats import PROCESS

FOLDER = "PENSTOCK_PROCESS_FOLDER"
"""Where it leaves the port of its health and metrics."""

LOOK = 1.0  # seconds between two looks whether the watching process lives


def number_of(environment: Mapping[str, str] = os.environ) -> int | None:
    """The number of this process; None if it was not started by another one that watches it."""
    text = environment.get(PROCESS, "")
    return int(text) if text.isdecimal() else None


def tell_port(port: int) -> None:
    """Tell the watching process where health and metrics are."""
    folder = Path(os.environ[FOLDER])
    path = folder / f"{number_of()}.port"
    path.with_suffix(".new").write_text(f"{os.getpid()} {port}")
    path.with_suffix(".new").replace(path)  # never seen half-written


def told_port(folder: Path, number: int, process: int) -> int | None:
    """What `tell_port` of a process has written; None before."""
    try:
        writer, port = (folder / f"{number}.port").read_text().split()
    except (OSError, ValueError):
        return None
    return int(port) if int(writer) == process else None


def stop_with_parent() -> None:
    """Stop in order when the watching process is gone: no process is left that nothing watches."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="penstock-parent", daemon=True).start()
