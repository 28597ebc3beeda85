"""Odd programs, and what `penstock run` says about each: where the cause is, and what to write instead."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock import Engine, Worker
from penstock.cli.apps import find_engines
from penstock.cli.main import main
from penstock.errors import PenstockError
from penstock.testing import Harness

ENGINE = """
from penstock import Engine
app = Engine("numbers", config=[{"name": "numbers", "connector": "memory"}], metrics_port=None)
@app.stream_app
def double(message): ...
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to stand in, with a folder of installed libraries beside it; what is imported is forgotten."""
    installed = tmp_path / "site-packages" / "tidewater"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("class Client: ...\n")
    (installed / "aio.py").write_text("class Client: ...\n")
    (installed.parent / "needs_it.py").write_text("from tidewater.aio import Client\n")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed.parent)])
    before = set(sys.modules)
    yield here
    for name in set(sys.modules) - before:
        del sys.modules[name]


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["run", *(words or ("app.py",))]) == 2
    return capsys.readouterr().err


# -- a file that hides a library


@pytest.mark.parametrize(
    ("name", "program", "whose"),
    [
        ("tidewater", "from tidewater import Client", "the library"),
        ("tidewater", "import tidewater.aio", "the library"),
        ("tidewater", "import needs_it", "the library"),
        ("tidewater", "import tidewater\ntidewater.Client()", "the library"),
        ("wave", "import wave\nwave.Wave_read", "the standard library's"),
        ("tabnanny", "from tabnanny import check", "the standard library's"),
    ],
)
@pytest.mark.parametrize("form", ["{}.py", "{}/__init__.py"])
def test_a_file_that_hides_a_library_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, program: str, whose: str, form: str
) -> None:
    """Whichever import fails by it: the program's own, a library's, or the use of a name."""
    hiding = folder / form.format(name)
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text("number = 7\n")
    (folder / "app.py").write_text(program + ENGINE)

    assert f"{hiding} hides {whose} {name!r} from everything that imports it; rename it" in said(capsys)


def test_a_program_that_hides_a_library_is_named_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock run redis.py`, whose connector then imports the program in the library's place."""
    (folder / "tidewater.py").write_text("import needs_it" + ENGINE)

    assert f"{folder / 'tidewater.py'} hides the library 'tidewater'" in said(capsys, "tidewater.py")


def test_a_library_that_a_connector_needs_is_named_and_no_package_is_to_be_installed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To install the plugin again would not help."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("redis", "penstock_rsmq")]:
        monkeypatch.delitem(sys.modules, name)
    (folder / "redis.py").write_text("number = 7\n")
    (folder / "app.py").write_text(ENGINE.replace('"memory"', '"rsmq"'))

    error = said(capsys)

    assert f"{folder / 'redis.py'} hides the library 'redis' from everything that imports it; rename it" in error
    assert error.endswith("penstock-rsmq itself is whole\n")


def test_a_file_that_hides_what_python_needs_is_named_without_penstock_run(folder: Path) -> None:
    """`python app.py` beside a `logging.py`; `from penstock import …` would say that the package lacks the name."""
    (folder / "logging.py").write_text("number = 7\n")
    (folder / "app.py").write_text(ENGINE)

    done = subprocess.run([sys.executable, "app.py"], capture_output=True, text=True, check=False)

    assert f"{folder / 'logging.py'} hides the standard library's 'logging'" in done.stderr.splitlines()[-1]


def test_a_module_of_the_program_that_hides_nothing_is_not_blamed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is its own."""
    (folder / "models.py").write_text("number = 7\n")
    (folder / "app.py").write_text("from models import Order" + ENGINE)

    assert "hides" not in said(capsys)


# -- imports that cannot be found


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("from .models import Order", "cd {above} && penstock run here.app; or import without the dot"),
        ("from . import models", "cd {above} && penstock run here.app; or import without the dot"),
        ("from here.models import Order", "'here' is in {above}: name the module from there: cd {above} && penstock"),
        ("import model", "beside the program there is 'models'"),
    ],
)
def test_an_import_that_cannot_be_found_has_a_hint(
    folder: Path, capsys: pytest.CaptureFixture[str], program: str, hint: str
) -> None:
    """A file in a package is run as a module; a misspelt name."""
    (folder / "models.py").write_text("Order = dict\n")
    (folder / "app.py").write_text(program + ENGINE)

    assert hint.format(above=folder.parent) in said(capsys)


# -- a start inside an import


@pytest.mark.parametrize(
    "start",
    [
        "double()",
        "app.run()",
        "import asyncio; asyncio.run(app.serve())",
        "from penstock import Worker; Worker([app]).run()",
        "import asyncio; from penstock import Worker; asyncio.run(Worker([app]).serve())",
    ],
)
def test_a_start_without_a_guard_does_not_run_inside_the_import(
    folder: Path, capsys: pytest.CaptureFixture[str], start: str
) -> None:
    """The line is named, and what to write above it."""
    (folder / "app.py").write_text(f"{ENGINE}{start}\n")

    assert said(capsys) == (
        "penstock: app.py:6: this starts the worker while the file is only imported; "
        'write `if __name__ == "__main__":` above it, and indent it\n'
    )


def test_a_start_in_a_module_that_a_configuration_names_does_not_run_either(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`penstock check` imports data models."""
    (folder / "billing.py").write_text(f"{ENGINE}class Order: ...\ndouble()\n")
    (folder / "queues.yml").write_text(
        "queues: {orders: {connector: memory, serializer: json, model_handler: pydantic, data_model: billing.Order}}"
    )

    assert main(["check", "queues.yml"]) == 2
    assert "billing.py:7: this starts the worker while the file is only imported" in capsys.readouterr().err


def test_a_guarded_start_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The engine is found, and nothing is said."""
    (folder / "app.py").write_text(f"{ENGINE}if __name__ == '__main__':\n    double()\n")

    assert main(["run", "app.py", "--drain", "--config", "none.yml"]) == 2
    assert "none.yml" in capsys.readouterr().err  # it came as far as the configuration


# -- inside an event loop


def engine() -> Engine:
    made = Engine("numbers", config=[{"name": "numbers", "connector": "memory"}], metrics_port=None)
    made.stream_app(lambda _message: None)
    return made


def test_a_start_in_a_running_event_loop_says_what_to_await(recwarn: pytest.WarningsRecorder) -> None:
    """A notebook has one; so has an async program."""
    app = engine()

    async def notebook(start: object) -> str:
        with pytest.raises(PenstockError) as caught:
            start()  # type: ignore[operator]
        return str(caught.value)

    for start in (app.run, Worker([app]).run):
        text = asyncio.run(notebook(start))
        assert re.match(
            r"\S*test_odd_programs\.py:\d+: an event loop runs here already, as in a notebook; write ", text
        )
        assert text.endswith("`await app.serve()` for an engine, `await Worker([…]).serve()` for a worker")
    assert not [each for each in recwarn if "never awaited" in str(each.message)]


def test_an_engine_serves_in_a_running_event_loop() -> None:
    """Until its task is cancelled, as a notebook's cell is when it is interrupted."""
    app = engine()

    async def notebook() -> None:
        serving = asyncio.create_task(app.serve())
        while app.pipeline is None:
            await asyncio.sleep(0.01)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(notebook())


# -- decorators


def test_a_decorator_above_the_engines_is_reported(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The engine calls the function that it was given, without what stands above."""
    (folder / "app.py").write_text(
        "import functools\n"
        "def logged(function):\n"
        "    return functools.wraps(function)(lambda message: function(message))\n"
        + ENGINE.replace("@app", "@logged\n@app")
    )

    with caplog.at_level(logging.WARNING):
        main(["run", "app.py", "--config", "none.yml"])

    assert (
        "double: a decorator stands above @app.stream_app, and the engine calls the function without it" in caplog.text
    )


# -- models


MODEL = """
class Order(BaseModel):
    n: int
"""
HEAD = "from pydantic import BaseModel\nfrom penstock import Engine\n"
FUNCTION = """
app = Engine("numbers", config=[{"name": "numbers", "connector": "memory", "serializer": "json",
             "model_handler": "pydantic", "batch": BATCH}], metrics_port=None)
seen = []
@app.stream_app
def bill(order: ANNOTATION):
    seen.append(order)
"""


@pytest.mark.parametrize(
    ("annotation", "future"),
    [("Order", "from __future__ import annotations\n"), ('"Order"', ""), ('"list[Order]"', "")],
)
@pytest.mark.parametrize("where", ["above", "below", "around", "imported below"])
def test_a_model_is_found_wherever_python_finds_it_later(
    folder: Path, annotation: str, future: str, where: str
) -> None:
    """Below the function in its module; around it, inside of another function."""
    function = FUNCTION.replace("ANNOTATION", annotation).replace("BATCH", str("list" in annotation))
    inner = (MODEL + function).replace("\n", "\n    ")
    program = {
        "above": MODEL + function,
        "below": function + MODEL,
        "around": f"def make():{inner}return app, seen\napp, seen = make()\n",
        "imported below": function + "from models import Order\n",
    }[where]
    (folder / "models.py").write_text(HEAD + MODEL)
    (folder / "app.py").write_text(future + HEAD + program)
    (made,) = find_engines(["app.py"])

    with Harness(made) as harness:
        harness.send("numbers", {"n": 7})
        harness.run()

    seen = sys.modules["app"].seen
    order = seen[0][0] if "list" in annotation else seen[0]
    assert (type(order).__name__, order.n) == ("Order", 7)


def test_a_model_that_only_type_checkers_know_is_refused_with_the_reason(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python cannot find it, so nothing would be validated."""
    function = FUNCTION.replace("ANNOTATION", "'Order'").replace("BATCH", "False")
    guarded = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from models import Order\n"
    (folder / "models.py").write_text(HEAD + MODEL)
    (folder / "app.py").write_text(HEAD + guarded + function)

    error = said(capsys)

    assert "bill: its message is annotated with 'Order', which cannot be found at run time" in error
    assert "define or import it at the module's top, not under TYPE_CHECKING" in error
