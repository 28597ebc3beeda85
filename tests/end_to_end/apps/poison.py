"""Doubles numbers. One of them ends the process, in the way that DEATH says; KIND says what the function is like."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from penstock import Engine

POISON = int(os.environ["POISON"])
PAUSE = float(os.environ.get("PAUSE", "0"))  # seconds that a call takes

DEATHS = {
    "exit": lambda: os._exit(9),
    "segv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),  # as the kernel does when memory runs out
}


def doubled(message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if message["id"] == POISON:
        DEATHS[os.environ["DEATH"]]()
    return "doubles", {"id": message["id"]}


def one(message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    time.sleep(PAUSE)
    return doubled(message)


async def later(message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    await asyncio.sleep(PAUSE)
    return doubled(message)


def many(messages: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    time.sleep(PAUSE)
    return [doubled(message) for message in messages]


app = Engine("numbers", ["doubles"], dead_letter_queue="dead", app_name="poison", metrics_port=None)
app.stream_app({"sync": one, "async": later, "batch": many}[os.environ.get("KIND", "sync")])
