"""`penstock check` of programs: their queues by role, judged as the start judges them; and servers that are asked."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from core.tests import acme

from penstock.cli.main import main

CONFIG = """\
queues:
  orders: {connector: memory}
  invoices: {connector: memory}
  rejects: {profile: memory-dlq}
engine:
  concurrency: 3
worker:
  metrics_port: off
"""
APP = """\
from penstock import Engine

app = Engine("orders", ["invoices"], app_name="till", dead_letter_queue="rejects", config="queues.yml", batch_size=7)

@app.stream_app
def bill(order: dict) -> None: ...
"""


class Check:
    """Runs `penstock check` in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.write("queues.yml", CONFIG)
        self.write("app.py", APP)

    def write(self, name: str, text: str) -> None:
        """A file of the folder."""
        (self.folder / name).write_text(textwrap.dedent(text))

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        code = main(["check", *arguments])
        captured = self.capsys.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Check]:
    """The command; what it imports is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    acme.install(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield Check(tmp_path, capsys)
    for name in {"app", "bad", "other", "watched", "late", "probes"} & set(sys.modules) - before:
        del sys.modules[name]


def test_a_program_is_shown_with_its_queues_by_role_and_what_differs_from_the_defaults(check: Check) -> None:
    """What the program gives is told from what the configuration gives."""
    code, out, err = check("app.py")

    assert (code, err) == (0, "")
    assert out == textwrap.dedent(
        """\
        app.py: 1 engine, 3 queues, no problems

        engine till
          input              orders    program
          output             invoices  program
          dead_letter_queue  rejects   program
          batch_size         7         program
          concurrency        3         queues.yml:6

        queue orders: input of till
          connector  memory  queues.yml:2

        queue invoices: output of till
          connector  memory  queues.yml:3

        queue rejects: dead-letter queue of till
          profile        memory-dlq  queues.yml:4
          connector      memory      profile memory-dlq
          serializer     off         profile memory-dlq
          model_handler  off         profile memory-dlq
          data_model     off         profile memory-dlq

        worker
          metrics_port  none  queues.yml:8
        """
    )


def test_everything_is_shown_on_request(check: Check) -> None:
    """Defaults, and the classes behind names."""
    _code, out, _err = check("app.py", "--all")

    told = [line.split() for line in out.splitlines()]
    assert ["max_in_flight", "10000", "default"] in told
    assert ["config.namespace", "default", "default"] in told
    assert "penstock_memory.consumer.MemoryConsumer" in out


@pytest.mark.parametrize(
    ("arguments", "program", "said"),
    [
        ('dead_letter_queue="orders"', "def f(m): ...", "dead_letter_queue='orders' is where its messages come from"),
        ('delivery="exactly_once"', "def f(m): ...", "transactions"),
        ('middleware=["timeot"]', "def f(m): ...", "did you mean 'timeout'?"),
        ("", "def f(m: 'Missing'): ...", "which cannot be found at run time"),
        ('output_queues=["nowhere"]', "def f(m): ...", "queue 'nowhere' is not in queues.yml"),
        ("concurrency=True", "def f(m): ...", "'concurrency' must be a whole number, not true or false"),
        (
            "middleware=[watch]",
            "def f(m): ...",
            "middleware watch is written with `async def`, and the function of engine 'f' is not async",
        ),
    ],
)
def test_what_the_start_would_refuse_is_refused(check: Check, arguments: str, program: str, said: str) -> None:
    """Delivery, dead letters, classes, annotations and middleware, by the start's own steps and words."""
    check.write(
        "bad.py",
        f"from penstock import Engine\nasync def watch(call):\n    yield\n"
        f'app = Engine("orders", config="queues.yml", {arguments})\n@app.stream_app\n{program}\n',
    )

    code, out, err = check("bad.py")
    running = main(["run", "bad.py", "--drain"])
    started = check.capsys.readouterr().err

    assert (code, out) == (2, "")
    assert said in err
    assert running == 2
    assert started == err


def test_a_check_tells_no_observer_and_opens_no_resource(check: Check) -> None:
    """Nothing of the program runs but its module."""
    check.write(
        "watched.py",
        APP + "\n@app.observer\ndef observe(event):\n    raise SystemExit(9)\n\n"
        "@app.resource\ndef db():\n    raise SystemExit(9)\n",
    )

    assert check("watched.py")[0] == 0


def test_programs_attributes_and_configurations_may_be_checked_together(check: Check) -> None:
    """Programs as one worker; each configuration for itself; all problems at once."""
    check.write("other.py", APP.replace('"orders"', '"invoices"').replace('["invoices"]', "[]").replace("till", "two"))

    code, out, _err = check("app.py:app", "other.py", "queues.yml")
    assert code == 0
    assert "app.py:app, other.py: 2 engines, 3 queues, no problems" in out
    assert "queue invoices: output of till, input of two" in out
    assert "queues.yml: 3 queues, no problems" in out

    check.write("bad.yml", "a: {connector: memry}\n")
    check.write("queues.yml", CONFIG.replace("connector: memory}\n  inv", "connector: memroy}\n  inv"))
    check.write("late.py", APP)
    code, out, err = check("late.py", "bad.yml")
    assert (code, out) == (2, "")
    assert "queue 'a' (bad.yml:1" in err
    assert "queue 'orders' (queues.yml:2" in err


def test_another_configuration_is_checked_in_place_of_the_programs_own(check: Check) -> None:
    """As `penstock run --config` would use it."""
    check.write("production.yml", CONFIG.replace("  invoices: {connector: memory}\n", ""))

    code, _out, err = check("app.py", "--config", "production.yml")

    assert code == 2
    assert "queue 'invoices' is not in production.yml" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("queues.yml", "--config", "queues.yml"), "--config queues.yml: it is for programs"),
        (("app.py", "--input", "orders"), "a program says what it uses"),
    ],
)
def test_options_without_effect_are_refused(check: Check, arguments: tuple[str, ...], said: str) -> None:
    """An option of the other kind of target."""
    code, _out, err = check(*arguments)

    assert code == 2
    assert said in err


def test_a_machine_gets_one_object(check: Check) -> None:
    """With masked secrets; problems, too, come on standard output."""
    check.write("secret.yml", "a: {connector: acme, config: {host: h, group.id: g, password: hunter2}}\n")

    code, out, err = check("secret.yml", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["ok"] is True
    assert found["problems"] == []
    settings = {each["key"]: each for each in found["parts"][0]["settings"]}
    assert found["parts"][0]["title"] == "queue a"
    assert settings["config.host"] == {"key": "config.host", "value": "h", "origin": "secret.yml:1"}
    assert settings["config.port"]["origin"] == "default"
    assert "hunter2" not in out

    check.write("secret.yml", "a: {connector: acme, config: {host: h, group.id: g, pasword: hunter2}}\n")
    code, out, err = check("secret.yml", "--json")
    assert (code, err) == (2, "")
    assert json.loads(out)["ok"] is False
    assert "did you mean 'password'?" in json.loads(out)["problems"][0]
    assert "hunter2" not in out


PROBES = """\
import asyncio
import time
from penstock import BlockingConsumer, Producer
from penstock.connectors import ConnectorError, Consumer, FatalConnectorError, NotConnected, Probed

class Base(Consumer):
    async def connect(self): raise AssertionError("a check connects no consumer")
    async def consume(self, max_messages, timeout): ...
    async def on_success(self, messages): ...
    async def on_fail(self, messages, delay=None): ...
    async def shutdown(self): ...

class Well(Base):
    async def probe(self):
        return [Probed("reachable", True, "there"), Probed("clock", None, "not told")]

class Away(Base):
    async def probe(self):
        raise NotConnected("nobody listens at host:1; start the server, password hunter2")

class Gone(Base):
    async def probe(self):
        raise NotConnected("Error 111 connecting to host:1.")

class Refused(Base):
    async def probe(self):
        raise FatalConnectorError("wrong password; correct 'password'")

class Missing(Base):
    async def probe(self):
        raise ConnectorError("there is no such topic; create it")

class Skewed(Base):
    async def probe(self):
        return [Probed("reachable", True, "there"), Probed("clock", False, "the clock is wrong; set it")]

class Silent(Base):
    async def probe(self):
        await asyncio.Event().wait()

class Broken(Base):
    async def probe(self):
        return 1 / 0

class Old(Base): ...
"""


def test_servers_are_asked_at_once_and_each_answer_is_a_line(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong comes first, with what to do; a server that never answers ends in time."""
    monkeypatch.setattr("penstock.operations.probe.TIMEOUT", 0.3)
    check.write("probes.py", PROBES)
    names = ("Well", "Away", "Gone", "Refused", "Missing", "Skewed", "Silent", "Broken", "Old")
    check.write("queues.yml", "".join(f"{name.lower()}: {{consumer: probes.{name}}}\n" for name in names))

    code, out, _err = check("queues.yml", "--connect")

    assert code == 1
    answers = sorted(line for line in out.splitlines() if line.startswith(("ok ", "FAILED ")))
    assert answers == [
        "FAILED  queue 'away' (input, Away): nobody listens at host:1; start the server, password hunter2",
        "FAILED  queue 'broken' (input, Broken): Broken.probe raised ZeroDivisionError: division by zero",
        "FAILED  queue 'gone' (input, Gone): Error 111 connecting to host:1; look at the address, the server and the "
        "network between them",
        "FAILED  queue 'missing' (input, Missing): there is no such topic; create it",
        "FAILED  queue 'refused' (input, Refused): wrong password; correct 'password'",
        "FAILED  queue 'silent' (input, Silent): no answer within 0.3 s; look at the address, the server and the "
        "network between them",
        "FAILED  queue 'skewed' (input, Skewed): the clock is wrong; set it; there",
        "ok      queue 'old' (input, Old): connector 'Old' cannot be asked",
        "ok      queue 'well' (input, Well): there; clock: not told",
    ]


def test_servers_that_are_well_end_with_0(check: Check) -> None:
    """Each queue of a program in its role."""
    code, out, _err = check("app.py", "--connect")

    assert code == 0
    lines = sorted(line for line in out.splitlines() if line.startswith("ok "))
    assert lines == [
        "ok      queue 'invoices' (output, memory): a queue of the worker's own process",
        "ok      queue 'orders' (input, memory): a queue of the worker's own process",
        "ok      queue 'rejects' (output, memory): a queue of the worker's own process",
    ]


def test_the_answers_of_servers_are_data_too(check: Check) -> None:
    """Question by question."""
    code, out, _err = check("app.py", "--connect", "--json")

    assert code == 0
    assert {"question": "reachable", "ok": True, "text": "a queue of the worker's own process"} in (
        json.loads(out)["servers"][0]["answers"]
    )
