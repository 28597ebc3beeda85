"""The program that is hurt: a plain worker. Started as `python app.py` and as `penstock run app.py`."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from typing import Literal

from pydantic import BaseModel

from penstock import Engine, Output, QueueMessage, Retry

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not left alone if the tests die

ROUND = json.loads(os.environ["CHAOS_ROUND"])
WORKING = "working on the first message"
REST = 0.02  # seconds of a pause, at least


class Work(BaseModel):
    """What comes in."""

    serial: int
    kind: Literal["healthy", "flaky", "postponed", "failing", "poison"]
    fails: int


app = Engine(
    "source",
    ROUND["outputs"],
    dead_letter_queue="rejects",
    app_name="chaos",
    yaml_config_path=ROUND["config"],
    metrics_port=None,
)


@app.stream_app
def work(message: Work, msg_ctx: QueueMessage) -> list[Output]:
    """Do what the message says."""
    _announce()
    _rest()
    if message.kind == "failing" or (message.kind == "flaky" and msg_ctx.attempts <= message.fails):
        raise RuntimeError(f"attempt {msg_ctx.attempts} fails on purpose")
    if message.kind == "postponed" and msg_ctx.attempts == 1:
        raise Retry(delay=0.3, reason="not yet, on purpose")
    if message.kind == "poison":
        _die(ROUND["poison"])
    return [Output(queue, {"serial": message.serial}) for queue in ROUND["outputs"]]


def _announce(told: list[bool] = []) -> None:  # noqa: B006  (once a process)
    if not told:
        told.append(True)
        print(WORKING, flush=True)


def _rest(owed: list[float] = []) -> None:  # noqa: B006  (once a process)
    # For several calls at once: on a busy machine each sleep ends late.
    owed.append(ROUND["pause"])
    if (seconds := sum(owed)) >= REST:
        owed.clear()
        time.sleep(seconds)


def _die(how: str) -> None:
    if how == "exit":
        os._exit(9)
    os.kill(os.getpid(), {"segv": signal.SIGSEGV, "abort": signal.SIGABRT}[how])
    time.sleep(60)


if __name__ == "__main__":
    work()
