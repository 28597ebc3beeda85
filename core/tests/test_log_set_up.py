"""The log under `penstock run` and under `python app.py`, whatever the program's own logging is: each line once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from core.tests.test_cli_run import CONFIG, Command, run

__all__ = ["run"]  # the fixture

APP = """
import logging, logging.config, os, signal, sys
SET_UP
from penstock import Engine
AFTER_IMPORT

app = Engine("in", ["out"], app_name="till", yaml_config_path="queues.yml", dead_letter_queue="dead",
             retry={"max_attempts": 1})
log = logging.getLogger("shop")

@app.resource
def till():
    IN_RESOURCE
    return None

@app.stream_app
def main(number, till):
    log.warning("own %s", number, extra={"till": 7})
    if number == 2:
        os.kill(os.getpid(), signal.SIGTERM)
    return ("out", number)

log.warning("imported")
if __name__ == "__main__":
    from pathlib import Path
    from penstock import Worker
    from penstock.cli.feed import Feed
    Worker([PythonFeed(), app]).run()
"""
# `python app.py` has no --feed: an engine of its own brings the messages.
PYTHON_FEED = """
class PythonFeed:
    def start(self, health, metrics):
        from penstock.config.resolve import registry_for, resolve_queue
        self.queue = resolve_queue(app.configuration, "in", "output", registry=registry_for(app.configuration))
        return self
    async def run(self, connect_timeout, shutdown_timeout):
        from penstock.message import Record
        from penstock.queues.queue import OutputQueue
        async with OutputQueue(self.queue) as queue:
            await queue.produce([Record(b"1"), Record(b"2")])
    def stop(self): pass
    def drain(self): pass
    async def idle_since(self): return None
"""

JSON_HANDLER = """
import json
class Own(logging.Formatter):
    def format(self, record):
        return json.dumps({"own": record.getMessage(), "engine": getattr(record, "engine", None), "from": record.name})
handler = logging.StreamHandler()
handler.setFormatter(Own())
logging.basicConfig(handlers=[handler], level="INFO", force=True)
"""
INTERCEPT = """
import inspect
class Intercept(logging.Handler):
    def emit(self, record):
        frame, depth = inspect.currentframe(), 0
        while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
            frame, depth = frame.f_back, depth + 1
        print("OTHER", os.path.basename(frame.f_code.co_filename), frame.f_code.co_name, record.getMessage(),
              file=sys.stderr)
logging.basicConfig(handlers=[Intercept()], level=0, force=True)
"""
DICT = """logging.config.dictConfig({"version": 1, "formatters": {"f": {"format": "OWN %(name)s %(message)s"}},
    "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
    "root": {"level": "WARNING", "handlers": ["h"]}})"""

PROGRAMS = {
    "none": ("", "", "pass", r"WARNING shop: {}", r"INFO penstock: {}"),
    "basicConfig": (
        'logging.basicConfig(level="INFO", format="OWN %(name)s %(message)s")', "", "pass",
        r"^OWN shop {}", r"^OWN penstock {}",
    ),
    "basicConfig of warnings": ('logging.basicConfig(format="OWN %(name)s %(message)s")', "", "pass",
                                r"^OWN shop {}", r"^OWN penstock {}"),
    "a handler of errors alone": (
        'h = logging.StreamHandler(); h.setLevel("ERROR"); logging.getLogger().addHandler(h)', "", "pass",
        "", r"INFO penstock: {}",
    ),
    "dictConfig": ("", DICT, "pass", r"^OWN shop {}", r"^OWN penstock {}"),
    "dictConfig while it runs": ("", "", f"{DICT}; logging.getLogger('shop').disabled = False",
                                 r"^OWN shop {}", r"(?:^OWN penstock|INFO penstock:) {}"),
    "JSON": (JSON_HANDLER, "", "pass", r'^{{"own": "{}", "engine": null, "from": "shop"}}',
             r'^{{"own": "{}[^"]*", "engine": (?:null|"till"), "from": "penstock"}}'),
    "loguru": (INTERCEPT, "", "pass", r"^OTHER app.py (?:main|<module>) {}", r"^OTHER \w+.py \w+ {}"),
}  # fmt: skip
"""What the program does with logging: before it imports Penstock, after it, in a resource; its lines, and ours."""


LIVES = (
    "starting Penstock",
    "engine 'till': from",
    "engine 'till': at work",
    "stopping",
    "engine 'till', queue 'in': 2",
)


def write(folder: Path, program: str) -> None:
    """The program and its configuration."""
    before, after, inside, *_ = PROGRAMS[program]
    text = APP.replace("SET_UP", before).replace("AFTER_IMPORT", after).replace("IN_RESOURCE", inside)
    (folder / "app.py").write_text(text.replace("app = Engine", f"{PYTHON_FEED}\napp = Engine", 1))
    (folder / "queues.yml").write_text(CONFIG.replace("SPACE", folder.name))
    (folder / "in.jsonl").write_text("1\n2\n")


@pytest.mark.parametrize("command", ["penstock run", "python"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_each_line_is_written_once(tmp_path: Path, program: str, command: str) -> None:
    """Ours, and the program's own as it wants them."""
    write(tmp_path, program)
    words = ["app.py"] if command == "python" else ["-m", "penstock.cli.main", "run", "app.py", "--feed", "in=in.jsonl"]

    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    *_, theirs, ours = PROGRAMS[program]
    for line in ("imported", "own 1", "own 2"):
        looks = theirs
        if line == "imported" and theirs and (program in ("none", "dictConfig while it runs")):
            looks = "WARNING shop: {}" if command == "penstock run" else "^{}"  # as Python does by itself
        found = re.findall(looks.format(line), done.stderr, re.MULTILINE) if looks else []
        assert len(found) == done.stderr.count(line) == (1 if looks else 0), done.stderr
    for line in LIVES:
        assert len(re.findall(ours.format(line), done.stderr, re.MULTILINE)) == 1, (line, done.stderr)
        assert done.stderr.count(line) == 1, done.stderr


# -- levels and formats


def times(err: str) -> list[str]:
    """The time of each line that has one."""
    return re.findall(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d) ", err, re.MULTILINE)


def test_a_line_has_the_time_with_its_zone(run: Command) -> None:
    """As RFC 3339 has it."""
    err = run("app.py", "--drain", "--feed", "in=in.jsonl", "--log-level", "info")[2]

    assert len(times(err)) == len(err.splitlines()) >= 5


ODD = """
    import math
    class Odd:
        def __str__(self): raise RuntimeError("no")
    loop = []
    loop.append(loop)
    odd = {"odd": Odd(), "loop": loop, "nan": math.nan, "bytes": b"x", "half": chr(0xdc80), "time": 1, "big": 1 << 70}
    log.warning("line\\none", extra=odd)
    log.warning("wrong %d", "args", exc_info=ValueError("secret=hunter22"))
    if number == 1:
        raise LookupError("no such customer")
"""


@pytest.mark.parametrize(
    ("where", "program"), [("option", "none"), ("configuration", "none"), ("option", "basicConfig")]
)
def test_every_line_is_a_json_object(run: Command, where: str, program: str) -> None:
    """Also the program's own, whatever values they have, tracebacks, and by its own handler too, once it runs."""
    write(run.folder, program)
    run.write("app.py", run.read("app.py").replace("def main(number, till):", f"def main(number, till):{ODD}"))
    chosen = ["--log-format", "json"] if where == "option" else []
    form = "text" if chosen else "json"
    run.write("queues.yml", run.read("queues.yml") + f"  log: {{format: {form}}}\n")

    code, _out, err = run("app.py", "--feed", "in=in.jsonl", *chosen)

    assert code == 0
    entries = [json.loads(line) for line in err.splitlines() if line != "OWN shop imported"]
    assert all(list(entry)[:4] == ["time", "level", "logger", "message"] for entry in entries)
    own = next(entry for entry in entries if entry["message"] == "line\none")
    assert (own["nan"], own["bytes"], own["half"], own["time_"]) == ("nan", "b'x'", "\udc80", 1)
    assert "hunter22" not in err
    assert any("ValueError: secret=" in entry.get("exception", "") for entry in entries)
    failed = next(entry for entry in entries if entry.get("stage") == "function")
    assert {key: failed[key] for key in ("engine", "queue", "connector", "position", "attempt", "error_type")} == {
        "engine": "till", "queue": "in", "connector": "memory", "position": "1", "attempt": 1,
        "error_type": "LookupError",
    }  # fmt: skip
    assert "LookupError: no such customer" in failed["exception"]


def test_a_wrong_start_is_json_too(run: Command) -> None:
    """What reads the log finds why it did not start."""
    code, _out, err = run("nothing.py", "--log-format", "json")

    assert code == 2
    assert json.loads(err)["message"] == f"app 'nothing.py': there is no such file in {run.folder}"


def test_the_level_comes_from_option_or_configuration(run: Command) -> None:
    """The option wins; a drain is quiet unless asked."""
    drain = ("app.py", "--config", "queues.yml", "--drain", "--feed", "in=in.jsonl")
    assert run(*drain)[2] == ""
    assert " DEBUG " in run(*drain, "--log-level", "debug")[2]
    run.write("queues.yml", run.read("queues.yml") + "  log: {level: INFO}\n")
    assert "starting Penstock" in run(*drain)[2]
    assert run(*drain, "--log-level", "error")[2] == ""


# -- a file for Python's logging


FILES = {
    "log.yml": "formatters: {f: {format: 'FILE %(name)s %(message)s'}}\n"
    "handlers: {h: {class: logging.StreamHandler, formatter: f}}\nroot: {level: INFO, handlers: [h]}\n",
    "log.toml": "formatters.f.format = 'FILE %(name)s %(message)s'\nroot.level = 'INFO'\nroot.handlers = ['h']\n"
    "handlers.h.class = 'logging.StreamHandler'\nhandlers.h.formatter = 'f'\n",
    "log.json": '{"formatters": {"f": {"format": "FILE %(name)s %(message)s"}}, "root": {"handlers": ["h"], "level": '
    '"INFO"}, "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}}}',
    "log.ini": "[loggers]\nkeys=root\n[handlers]\nkeys=h\n[formatters]\nkeys=f\n[logger_root]\nlevel=INFO\nhandlers=h\n"
    "[handler_h]\nclass=StreamHandler\nformatter=f\n[formatter_f]\nformat=FILE %(name)s %(message)s\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_sets_up_the_log(run: Command, name: str) -> None:
    """In each form, by the option or by the configuration, for our lines and the program's."""
    run.write(name, FILES[name])
    run.write("app.py", "import logging\n" + run.read("app.py") + "\nlogging.getLogger('shop').warning('imported')\n")
    words = ["app.py", "--drain", "--feed", "in=in.jsonl"]
    if name == "log.toml":
        run.write("queues.yml", run.read("queues.yml") + "  log: {config: log.toml, level: info}\n")
    else:
        words += ["--log-config", name, "--log-level", "info"]

    code, _out, err = run(*words)

    assert code == 0, err
    assert err.count("starting Penstock") == err.count("FILE penstock starting Penstock") == 1
    assert err.count("imported") == 1


def test_what_is_wrong_with_the_file_is_said(run: Command) -> None:
    """The file, the reason, and what to do; exit code 2."""

    def said(name: str, text: str = "") -> str:
        if text:
            run.write(name, text)
        code, _out, err = run("app.py", "--log-config", name)
        assert code == 2
        return err.removeprefix("penstock: ").removesuffix("\n")

    assert said("no.json") == "log configuration no.json: cannot be read: No such file or directory"
    assert said("log.txt", "x") == "log configuration log.txt: let its name end in .yml, .toml, .json or .ini"
    assert said("l.json", "{").startswith("log configuration l.json: is not well-formed JSON: ")
    assert said("m.json", "[]") == (
        "log configuration m.json: must be a mapping as `logging.config.dictConfig` takes it"
    )
    assert said("h.yml", "handlers: {h: {class: nowhere.Handler}}\n") == (
        "log configuration h.yml: Unable to configure handler 'h': Cannot resolve 'nowhere.Handler': "
        "No module named 'nowhere'"
    )
    assert "log configuration i.ini: " in said("i.ini", "[nothing]\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--log-level", "loud"], "argument --log-level: invalid choice: 'loud'"),
        (["--log-format", "xml"], "argument --log-format: invalid choice: 'xml'"),
        (["--log-level", "info", "-v"], "not allowed with argument"),
        (["--log-format", "json", "--log-config", "log.yml"], "not allowed with argument"),
    ],
)
def test_wrong_options_are_refused(run: Command, words: list[str], told: str) -> None:
    """By the parser, with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        run("app.py", *words)
    assert ended.value.code == 2
    assert told in run._capfd.readouterr().err


def test_wrong_settings_are_refused(run: Command) -> None:
    """As all others are."""
    run.write("queues.yml", run.read("queues.yml") + "  log: {level: loud, formt: json}\n")

    code, _out, err = run("app.py")

    assert code == 2
    assert "'level' must be 'debug', 'info', 'warning', 'error' or 'critical'" in err
    assert "'formt' is not a key of the log; did you mean 'format'?" in err
