"""Processes that a function forks behave as in any Python program, and do none of the worker's work."""

from __future__ import annotations

import json
import os
import signal
import socket

import pytest
from tests.end_to_end.conftest import App
from tests.end_to_end.workers import wait_until, worker

CONFIG = """
queues:
  in: {connector: memory}
  out: {connector: memory}
  dead: {profile: memory-dlq}
engine: {retry: {max_attempts: 1}}
"""
APP = """
import multiprocessing, os, signal, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
from penstock import Engine

app = Engine("in", ["out"], app_name="parent", dead_letter_queue="dead", yaml_config_path="queues.yml")
fork = multiprocessing.get_context("fork")

def sleep():
    time.sleep(60)

def double(number):
    return number * 2

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def state():
    plain = (signal.SIG_DFL, signal.default_int_handler)
    return [signal.getsignal(n) in plain for n in (15, 2, 1)], signal.set_wakeup_fd(-1)

def pool(context):
    with multiprocessing.get_context(context).Pool(2) as children:  # terminates them at the end
        return children.map(double, [1, 2])

def executor():
    with ProcessPoolExecutor(1, mp_context=fork) as children:
        return children.submit(double, 2).result()

def process():
    child = fork.Process(target=sleep)
    child.start()
    child.terminate()
    child.join()
    return child.exitcode

def handlers():
    with fork.Pool(1) as children:
        return repr(children.apply(state))

def os_fork():
    if (pid := os.fork()) == 0:
        sleep()
    os.kill(pid, signal.SIGTERM)
    return ended(pid)

def preexec():
    child = subprocess.Popen(["sleep", "60"], preexec_fn=os.setsid)
    child.terminate()
    return child.wait()

def comes_back(how):
    if (pid := os.fork()) == 0:
        if how == "raises":
            raise ValueError("in the child")
        if how == "exits":
            sys.exit(7)
        return "child"
    return ended(pid)

WAYS = {
    "pool": lambda: pool("fork"), "spawn": lambda: pool("spawn"), "forkserver": lambda: pool("forkserver"),
    "executor": executor, "process": process, "handlers": handlers, "os_fork": os_fork, "preexec": preexec,
    "returns": lambda: comes_back("returns"), "raises": lambda: comes_back("raises"),
    "exits": lambda: comes_back("exits"),
}

@app.stream_app
KIND def parent(way):
    return ("out", [way, WAYS[way]()])
"""
EXPECTED = {
    "pool": [2, 4],
    "spawn": [2, 4],
    "forkserver": [2, 4],
    "executor": 4,
    "process": -signal.SIGTERM,
    "handlers": "([True, True, True], -1)",
    "os_fork": -signal.SIGTERM,
    "preexec": -signal.SIGTERM,
    "returns": 1,
    "raises": 1,
    "exits": 7,
}


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_children_of_a_function(app: App, kind: str) -> None:
    """Children end by their own signals. A child that returns from the function ends there."""
    app.write("queues.yml", CONFIG)
    app.write("app.py", APP.replace("KIND def", kind))
    app.write("in.jsonl", "".join(json.dumps(way) + "\n" for way in EXPECTED))

    result = app.run("--drain", "--feed", "in=in.jsonl", "--collect", "out=out.jsonl", "--collect", "dead=dead.jsonl")

    assert (result.code, app.lines("dead.jsonl")) == (0, []), result.err
    results = [json.loads(line) for line in app.lines("out.jsonl")]
    assert (dict(results), len(results)) == (EXPECTED, len(EXPECTED))
    assert result.err.count("came back out of it and ends here") == 2


ORPHAN = """
import os, time
from pathlib import Path
from penstock import Engine

app = Engine("in", app_name="parent", yaml_config_path="queues.yml")

@app.stream_app
def parent(message):
    if os.fork() == 0:
        Path("child").write_text(str(os.getpid()))
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def test_a_child_that_outlives_the_worker_leaves_the_port_free(app: App) -> None:
    """The next worker answers there, and no connection waits for a child that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app.write("queues.yml", CONFIG)
    app.write("app.py", ORPHAN)
    app.write("in.jsonl", "1\n")
    child = app.folder / "child"
    with worker("app.py", "--feed", "in=in.jsonl", "--metrics-port", str(port), cwd=app.folder) as running:
        wait_until(lambda: child.exists() and child.read_text() != "", "the child", [running])
        running.kill()
        try:
            with socket.create_server(("127.0.0.1", port)):
                pass
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=10)
        finally:
            os.kill(int(child.read_text()), signal.SIGKILL)


AWAITING = """
import asyncio, os
from penstock import Engine

LAST = 4
app = Engine("in", ["out"], app_name="parent", concurrency=LAST + 1, yaml_config_path="queues.yml")
gate = asyncio.Event()
waiting = 0

@app.stream_app
async def parent(number):
    global waiting
    if number < LAST:
        waiting += 1
        await gate.wait()
        with open("pids", "a") as pids:
            pids.write(f"{os.getpid()}\\n")
        return ("out", [os.getpid(), None])
    while waiting < LAST:
        await asyncio.sleep(0.01)
    gate.set()  # the next turn of the event loop ends all other calls
    if (child := os.fork()) == 0:
        for _ in range(100):
            await asyncio.sleep(0)
        os._exit(0)
    return ("out", [os.getpid(), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])])
"""


def test_a_child_that_awaits_in_the_function_ends_there(app: App) -> None:
    """The child has a copy of its parent's event loop; to run it would make the parent's other calls a second time."""
    app.write("queues.yml", CONFIG)
    app.write("app.py", AWAITING)
    app.write("in.jsonl", "0\n1\n2\n3\n4\n")

    result = app.run("--drain", "--feed", "in=in.jsonl", "--collect", "out=out.jsonl")

    assert result.code == 0, result.err
    results = [json.loads(line) for line in app.lines("out.jsonl")]
    [parent] = {pid for pid, _ in results}
    assert sorted(code for _, code in results if code is not None) == [1]
    assert (len(results), app.lines("pids")) == (5, [b"%d" % parent] * 4)
    assert result.err.count("came back out of it and ends here") == 1
