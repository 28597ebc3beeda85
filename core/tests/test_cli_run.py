"""`penstock run`: apps, configuration, feeding, collecting, draining, metrics; each wrong form with its answer."""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.main import main

APP = """
from penstock import Engine

app = Engine("in", ["out"], app_name="till", yaml_config_path="queues.yml")

@app.stream_app
def main(number):
    return ("out", number * 2)
"""
CONFIG = """
queues:
  in: {connector: memory, config: {namespace: SPACE}}
  out: {connector: memory, config: {namespace: SPACE}}
  other: {connector: memory, config: {namespace: SPACE}}
  dead: {profile: memory-dlq, config: {namespace: SPACE}}
worker:
  metrics_port: none
"""


class Command:
    """`penstock run` inside the test, in a folder with an app, its configuration and its input."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capfd = capfd
        self.write("app.py", APP)
        self.write("queues.yml", CONFIG.replace("SPACE", uuid.uuid4().hex))
        self.write("in.jsonl", "1\n2\n3\n")

    def write(self, name: str, text: str) -> Path:
        """A file of the folder."""
        (self.folder / name).write_text(text)
        return self.folder / name

    def read(self, name: str) -> str:
        """A file of the folder."""
        return (self.folder / name).read_text()

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        root = logging.root
        before, level, root.handlers = root.handlers, root.level, []  # pytest's would be taken for the application's
        try:
            code = main(["run", *arguments])
        finally:
            root.handlers = before
            root.setLevel(level)
        captured = self._capfd.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """The command; what it imports is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield Command(tmp_path, capfd)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", "").startswith(str(tmp_path)):
            del sys.modules[name]


# -- the way through


@pytest.mark.parametrize("app", ["app.py", "app", "app:app", "app:main", "app.py:main"])
def test_a_file_goes_in_and_a_file_comes_out(run: Command, app: str) -> None:
    """--feed, --drain, --collect: no broker, no output but the file, exit code 0."""
    assert run(app, "--drain", "--feed", "in=in.jsonl", "--collect", "out=out.jsonl") == (0, "", "")
    assert run.read("out.jsonl") == "2\n4\n6\n"


def test_collecting_to_standard_output(run: Command) -> None:
    """`--collect out=-`: one JSON line a message, and nothing else."""
    assert run("app.py", "--drain", "--feed", "in=in.jsonl", "--collect", "out=-") == (0, "2\n4\n6\n", "")


def test_several_files_may_be_fed_into_a_queue_and_several_queues_collected(run: Command) -> None:
    """Each option as often as needed."""
    run.write("more.jsonl", "4\n")
    run.write("other.jsonl", '"x"\n')

    result = run(
        "app.py", "--drain", "--feed", "in=in.jsonl", "--feed", "in=more.jsonl", "--feed", "other=other.jsonl",
        "--collect", "out=out.jsonl", "--collect", "other=-",
    )  # fmt: skip

    assert result == (0, '"x"\n', "")
    assert sorted(run.read("out.jsonl").split()) == ["2", "4", "6", "8"]


def test_what_a_function_prints_is_seen(run: Command) -> None:
    """On standard output, as it happens."""
    run.write("app.py", APP.replace("    return", "    print('got', number)\n    return"))

    assert run("app.py", "--drain", "--feed", "in=in.jsonl") == (0, "got 1\ngot 2\ngot 3\n", "")


def test_a_circle_of_two_apps_drains(run: Command) -> None:
    """One's output is the other's input, and back: it ends when nothing goes round any more."""
    run.write("app.py", APP)
    run.write(
        "back.py",
        APP.replace('"in", ["out"], app_name="till"', '"out", ["in", "other"], app_name="back"').replace(
            '("out", number * 2)', '("in", number) if number < 1000 else ("other", number)'
        ),
    )

    code, out, err = run("app.py", "back.py", "--drain", "--feed", "in=in.jsonl", "--collect", "other=-")

    assert (code, sorted(out.split()), err) == (0, ["1024", "1024", "1536"], "")


def test_dead_letters_can_be_collected(run: Command) -> None:
    """A queue without a serializer: body, key and headers as an object."""
    run.write("app.py", APP.replace('app_name="till"', 'app_name="till", dead_letter_queue="dead"'))
    run.write("in.jsonl", "1\nno json\n")

    code, out, _err = run(
        "app.py", "--drain", "--feed", "in=in.jsonl", "--collect", "out=-", "--collect", "dead=d.jsonl"
    )

    letter = json.loads(run.read("d.jsonl"))
    headers = dict(letter["headers"])
    assert (code, out, letter["body"]) == (0, "2\n", "no json")
    assert (headers["penstock-error-stage"], headers["penstock-app"]) == ("decode", "till")


def test_a_queue_of_msgpack_is_fed_and_collected_as_json_lines(run: Command) -> None:
    """The lines are parsed and serialized on the way in, and back on the way out."""
    pytest.importorskip("penstock_msgpack")
    run.write(
        "queues.yml", CONFIG.replace("SPACE", uuid.uuid4().hex).replace("memory,", "memory, serializer: msgpack,")
    )
    run.write("in.jsonl", '{"a": 1}\n"x"\n[1, null]\n')
    run.write("app.py", APP.replace("number * 2", "number"))

    assert run("app.py", "--drain", "--feed", "in=in.jsonl", "--collect", "out=-") == (
        0,
        '{"a":1}\n"x"\n[1,null]\n',
        "",
    )


def test_config_replaces_what_the_apps_name_themselves(run: Command) -> None:
    """For all apps of the command line."""
    run.write("app.py", APP.replace("queues.yml", "/no/where.yml"))

    assert run("app.py", "--config", "queues.yml", "--drain", "--feed", "in=in.jsonl", "--collect", "out=-") == (
        0,
        "2\n4\n6\n",
        "",
    )


def test_verbose_says_what_happens(run: Command) -> None:
    """-v: what runs between which queues, that it is ready, that it stops, and what became of the messages."""
    run.write("app.py", APP.replace('    return ("out"', '    assert number != 2\n    return ("out"'))
    run.write("dead.py", APP.replace('["out"]', '["out"], dead_letter_queue="dead", retry={"max_attempts": 1}'))
    (run.folder / "dead.py").write_text(
        run.read("dead.py").replace('    return ("out"', '    assert number != 2\n    return ("out"')
    )

    code, _out, err = run("dead.py", "-v", "--drain", "--feed", "in=in.jsonl", "--metrics-port", "0")

    assert code == 0
    for line in (
        "health and metrics on 127.0.0.1 port",
        "INFO penstock: engine 'till': from 'in' (memory) to 'out' (memory), dead letters to 'dead' (memory)",
        "DEBUG penstock: engine till: ok",
        "DEBUG penstock: engine till: stopping",
        "INFO penstock: engine 'till', queue 'in': 3 received, 2 succeeded, 1 dead-lettered; 1 call failed",
    ):
        assert line in err


@pytest.mark.parametrize("drain", [True, False], ids=["drain", "until a signal"])
def test_an_engine_that_cannot_go_on_is_exit_code_1(run: Command, drain: bool) -> None:
    """The last line says why."""
    run.write("in.jsonl", "no json\n")

    code, _out, err = run("app.py", "--feed", "in=in.jsonl", *(["--drain"] if drain else []))

    assert code == 1
    last = err.splitlines()[-1]
    assert last.startswith("penstock: engine 'till', queue 'in' (queues.yml:3), memory, message at 1: the body is not")
    assert last.endswith(
        "It stays in its queue. Give the engine a dead_letter_queue; or set on_invalid: skip to pass over such messages"
    )


# -- what is wrong


def test_every_wrong_form_has_its_own_answer_and_exit_code_2(run: Command) -> None:
    """What, where, what to do; and nothing has run."""
    run.write("empty.py", "")
    run.write("lonely.py", "from penstock import Engine\napp = Engine('in', yaml_config_path='queues.yml')\n")

    def text(*arguments: str) -> str:
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), err
        return err.removeprefix("penstock: ").removesuffix("\n")

    assert text("nothing.py") == f"app 'nothing.py': there is no such file in {run.folder}"
    assert text("empty.py") == "app 'empty.py': it holds no Engine; make one at the top of the module"
    assert text("lonely.py") == (
        "engine 'penstock' (input queue 'in') has no function; decorate one with @app.stream_app"
    )
    assert text("app.py", "--config", "no.yml") == "no.yml: there is no such file"
    for option in ("--feed", "--collect"):
        for wrong in ("in", "in=", "=in.jsonl", ""):
            assert text("app.py", option, wrong) == f"{option} {wrong}: write {option} QUEUE=FILE"
    known = "queues.yml, which has 'in', 'out', 'other', 'dead'"
    assert text("app.py", "--feed", "inn=in.jsonl") == f"queue 'inn' is not in {known}; did you mean 'in'?"
    assert text("app.py", "--collect", "outt=o.jsonl") == f"queue 'outt' is not in {known}; did you mean 'out'?"
    assert text("app.py", "--feed", "in=no.jsonl") == (
        "--feed no.jsonl: No such file or directory; give a file of JSON lines, or '-'"
    )
    assert text("app.py", "--collect", "out=no/out.jsonl") == "--collect no/out.jsonl: No such file or directory"
    assert text("app.py", "--collect", "in=o.jsonl") == (
        "--collect in=o.jsonl: queue 'in' is the input of engine 'till', and collecting would take its messages; "
        "collect one of its outputs"
    )
    assert text("app.py", "--feed", "in=in.jsonl", "--collect", "out=./in.jsonl") == (
        "--collect out=./in.jsonl: the file is fed from, and collecting would write into it; give another one"
    )
    assert text("app.py", "--collect", "out=o.jsonl", "--collect", "other=o.jsonl") == (
        "--collect other=o.jsonl: another queue is collected into the same file; give another one"
    )
    assert text("app.py", "--collect", "out=-", "--collect", "out=o.jsonl") == (
        "--collect out=o.jsonl: queue 'out' is collected already, and two would share its messages between them; "
        "give it once"
    )
    assert text("app.py", "--feed", "in=-", "--feed", "other=-") == (
        "--feed other=-: standard input is fed into another queue already; give one of them a file"
    )
    assert text("app.py", "--metrics-port", "many") == (
        "the worker: 'metrics_port' must be a whole number, not this text"
    )
    assert text("app.py", "--metrics-port", "70000") == "the worker: 'metrics_port' must be at most 65535"
    assert run.read("in.jsonl") == "1\n2\n3\n"


def test_all_that_is_wrong_with_an_engines_queues_is_told_at_once(run: Command) -> None:
    """Each problem names its queue."""
    run.write("app.py", APP.replace('["out"]', '["elsewhere", "unknown"]'))

    code, _out, err = run("app.py")

    assert (code, err) == (
        2,
        "penstock: queue 'elsewhere' is not in queues.yml, which has 'in', 'out', 'other', 'dead'\n"
        "queue 'unknown' is not in queues.yml, which has 'in', 'out', 'other', 'dead'\n",
    )


def test_all_that_is_wrong_with_a_run_is_told_at_once(run: Command) -> None:
    """The worker's section, the queues of every engine, those that are fed and collected: one start shows it all."""
    broken = CONFIG.replace("metrics_port: none", "metrics_host: ${PENSTOCK_NO_SUCH}")
    run.write("queues.yml", broken)
    run.write("app.py", APP.replace('["out"]', '["elsewhere"]'))
    run.write("back.py", APP.replace('["out"]', '["unknown"]'))
    known = "queues.yml, which has 'in', 'out', 'other', 'dead'"
    told = {
        "worker (queues.yml:8:3): 'metrics_host' needs the environment variable PENSTOCK_NO_SUCH, which is not set; "
        "set it, or write a default: ${PENSTOCK_NO_SUCH:-default}",
        *(f"queue {name!r} is not in {known}" for name in ("elsewhere", "unknown", "fed", "collected")),
    }

    for config in ([], ["--config", "queues.yml"]):
        code, _out, err = run("app.py", "back.py", *config, "--feed", "fed=in.jsonl", "--collect", "collected=-")
        assert (code, set(err.removeprefix("penstock: ").splitlines())) == (2, told)


def test_a_queue_that_does_not_read_is_not_missed_as_well(run: Command) -> None:
    """One problem, one sentence."""
    run.write("queues.yml", "queues:\n  in: {conector: memory}\n  out: 7\n")

    code, _out, err = run("app.py")

    assert (code, len(err.splitlines())) == (2, 2), err
    assert "is not in" not in err


def test_options_may_stand_between_the_apps(run: Command) -> None:
    """`penstock run app.py --drain back.py`."""
    run.write("back.py", APP.replace('"in", ["out"], app_name="till"', '"other", ["dead"], app_name="back"'))

    assert run("app.py", "--drain", "back.py", "--feed", "in=in.jsonl", "--collect", "out=-") == (0, "2\n4\n6\n", "")


# -- metrics


def test_a_metrics_port_that_is_taken_is_a_warning(run: Command) -> None:
    """And the work goes on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run(
            "app.py", "--drain", "--feed", "in=in.jsonl", "--collect", "out=-", "--metrics-port", str(port)
        )

    assert (code, out) == (0, "2\n4\n6\n")
    assert f"health and metrics are not served: cannot listen on 127.0.0.1 port {port}" in err
    assert err.count("\n") == 1


def test_the_metrics_port_of_an_engine_is_used_unless_the_command_line_names_one(run: Command) -> None:
    """Command line, engine, configuration: in this order."""
    run.write("app.py", APP.replace('app_name="till"', 'app_name="till", metrics_port=0'))

    assert "health and metrics on" in run("app.py", "-v", "--drain")[2]
    assert "health and metrics on" not in run("app.py", "-v", "--drain", "--metrics-port", "none")[2]


# -- standard input


def test_standard_input_is_fed(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """`… | penstock run app.py --drain --feed in=- --collect out=-`."""
    import os

    read, write = os.pipe()
    os.write(write, b"10\n20")
    os.close(write)
    before = os.dup(0)
    os.dup2(read, 0)
    try:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        result = run("app.py", "--drain", "--feed", "in=-", "--collect", "out=-")
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(read)

    assert result == (0, "20\n40\n", "")


def test_the_colon_of_a_windows_drive_is_part_of_every_path(run: Command) -> None:
    """Of the app, of the configuration, and of the files that are fed and collected; here these are names of files."""
    for name in ("app.py", "queues.yml", "in.jsonl"):
        run.write(rf"C:\shop\{name}", run.read(name))

    feed, collect = r"in=C:\shop\in.jsonl", r"out=C:\shop\out.jsonl"
    arguments = ("--config", r"C:\shop\queues.yml", "--feed", feed, "--collect", collect, "--drain")
    code, _out, err = run(r"C:\shop\app.py:app", *arguments)

    assert (code, run.read(r"C:\shop\out.jsonl")) == (0, "2\n4\n6\n"), err
