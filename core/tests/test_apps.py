"""Which engines a command line names: files, modules, attributes; and what each wrong one answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.cli.apps import find_engines
from penstock.errors import ConfigError

APP = """
from penstock import Engine

app = Engine("{name}", app_name="{name}", queue_config=[])

@app.stream_app
def main(message):
    return None

number = 7
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an app to stand in; what is imported from it is forgotten afterwards."""
    (tmp_path / "till.py").write_text(APP.format(name="till"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(*apps: str) -> list[str]:
    return [engine.app_name for engine in find_engines(apps)]


@pytest.mark.parametrize(
    "app", ["till.py", "./till.py", "till", "till:app", "till:main", "till.py:app", "till.py:main"]
)
def test_an_app_is_a_file_a_module_or_an_attribute_of_one(app: str) -> None:
    """The engine itself, or the function that it runs."""
    assert names(app) == ["till"]


def test_an_absolute_path_is_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever one stands."""
    monkeypatch.chdir("/")

    assert names(str(folder / "till.py")) == ["till"]


@pytest.mark.parametrize("path", [r"C:\shop\till.py", "C:till.py", r"\\host\share\till.py"])
def test_the_colon_of_a_windows_drive_names_no_attribute(folder: Path, path: str) -> None:
    """Here such a path is the name of one file."""
    (folder / path).write_text(APP.format(name="drive"))

    assert names(path) == names(f"{path}:app") == names(f"{path}:main") == ["drive"]
    with pytest.raises(ConfigError, match="has no 'missing'"):
        find_engines([f"{path}:missing"])


def test_each_engine_is_found_once() -> None:
    """However many names lead to it."""
    assert names("till.py", "till", "till:app", "till:main") == ["till"]


def test_all_engines_of_a_file_are_found_in_their_order(folder: Path) -> None:
    """Those that it imports from beside it, too."""
    (folder / "shop.py").write_text(
        "from till import main\nfrom penstock import Engine\n"
        "second = Engine('b', app_name='second', queue_config=[])\n"
        "third = Engine('c', app_name='third', queue_config=[])\n"
    )

    assert names("shop.py") == ["till", "second", "third"]


def test_two_files_of_one_name_are_two_apps(folder: Path) -> None:
    """In two folders, each with the modules beside it."""
    for place in ("north", "south"):
        (folder / place).mkdir()
        (folder / place / "app.py").write_text(APP.format(name=place))

    assert names("north/app.py", "south/app.py", "north/app.py:app") == ["north", "south"]


def test_a_file_may_have_the_name_of_a_module_that_is_loaded_already(folder: Path) -> None:
    """`json.py` beside the app is the app; the standard library keeps its own."""
    import json

    (folder / "json.py").write_text(APP.format(name="mine"))

    assert names("json.py") == ["mine"]
    assert sys.modules["json"] is json


def test_a_module_inside_a_package_is_found(folder: Path) -> None:
    """By its dotted name."""
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "till.py").write_text(APP.format(name="inner"))

    assert names("shop.till") == names("shop.till:app") == ["inner"]


def test_an_app_may_import_what_lies_beside_it(folder: Path) -> None:
    """As with `python app.py`, whatever folder one stands in."""
    (folder / "inner").mkdir()
    (folder / "inner" / "models.py").write_text("NAME = 'beside'\n")
    (folder / "inner" / "app.py").write_text("from models import NAME\n" + APP.replace('"{name}"', "NAME"))

    assert names("inner/app.py") == ["beside"]


def test_every_wrong_form_says_what_is_wrong(folder: Path) -> None:
    """What, where, and what to do."""
    (folder / "empty.py").write_text("number = 7\n")
    named = "name an Engine or a function with @stream_app"
    forms = "write app.py, package.module, or either with :attribute"

    def text(app: str) -> str:
        with pytest.raises(ConfigError) as caught:
            find_engines([app])
        return str(caught.value)

    assert text("tills.py") == f"app 'tills.py': there is no such file in {folder}"
    assert text("/no/where/app.py") == "app '/no/where/app.py': there is no such file"
    assert text("tills") == "app 'tills': there is no module 'tills'; a file is named with its .py"
    assert text("till.inner") == "app 'till.inner': there is no module 'till.inner'; a file is named with its .py"
    assert text("till:nothing") == f"app 'till:nothing': till has no 'nothing'; {named}"
    assert text("till.py:nothing") == f"app 'till.py:nothing': till.py has no 'nothing'; {named}"
    assert text("till:") == f"app 'till:': till has no ''; {named}"
    assert text("till:number") == (
        "app 'till:number': 'number' of till is of type int, not an Engine or a function with @stream_app"
    )
    assert text("empty.py") == "app 'empty.py': it holds no Engine; make one at the top of the module"
    assert text("empty") == "app 'empty': it holds no Engine; make one at the top of the module"
    for app in ("./till", ":main", ".till", ""):
        place = app.removesuffix(":main")
        assert text(app) == f"app {app!r}: {place!r} is neither a file, whose name ends in .py, nor a module; {forms}"


def test_a_configuration_in_the_place_of_an_app_is_told_from_one() -> None:
    """`penstock run queues.yml` is a module's name to no one."""
    for name in ("queues.yml", "queues.yaml", "conf/queues.toml"):
        with pytest.raises(ConfigError) as caught:
            find_engines([name])
        assert str(caught.value) == (
            f"app {name!r}: a configuration is not an app; name the file with the Engine, and the configuration after "
            f"--config: penstock run app.py --config {name}"
        )


@pytest.mark.parametrize(
    ("code", "line", "error"),
    [
        ("import nothing_of_this_name", 3, "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("raise LookupError", 3, "LookupError"),
        ("def f(:", 3, "SyntaxError: invalid syntax"),
        ("Engine(colour='in')", 3, "TypeError: Engine.__init__() got an unexpected keyword argument 'colour'"),
        (
            "@Engine('in').stream_app()\ndef f(a): ...",
            3,
            "TypeError: Engine.stream_app() missing 1 required positional argument: 'function'",
        ),
        ("@Engine('in')\ndef f(a): ...", 3, "TypeError: 'Engine' object is not callable"),
    ],
    ids=["import", "raise", "syntax", "argument", "called decorator", "engine as decorator"],
)
def test_an_app_that_cannot_be_imported_is_one_line(folder: Path, code: str, line: int, error: str) -> None:
    """Which app, which line of it, what it raised; none of Penstock's own frames, by file and by name."""
    (folder / "broken.py").write_text(f"from penstock import Engine\n\n{code}\n")

    for app in ("broken.py", "broken", "broken:app"):
        with pytest.raises(ConfigError) as caught:
            find_engines([app])
        assert str(caught.value) == f"app {app!r} cannot be imported: broken.py:{line}: {error}"
        sys.modules.pop("broken", None)


def test_the_way_to_an_error_of_what_an_app_imports_is_told(folder: Path) -> None:
    """The line that raised, and the lines of the user's that led there."""
    (folder / "models.py").write_text("def make():\n    raise ValueError('no such model')\n\nmake()\n")
    (folder / "broken.py").write_text("import models\n")

    with pytest.raises(ConfigError) as caught:
        find_engines(["broken.py"])

    assert str(caught.value) == (
        "app 'broken.py' cannot be imported: models.py:2: ValueError: no such model\n"
        "  by way of models.py:4\n  by way of broken.py:1"
    )


def test_what_penstock_refuses_in_an_app_is_told_in_its_own_words(folder: Path) -> None:
    """A clear error needs no place before it."""
    (folder / "broken.py").write_text("from penstock import Engine\nEngine('in', output_queues='out')\n")

    with pytest.raises(ConfigError, match=r"^engine 'penstock': output_queues is a list of names"):
        find_engines(["broken.py"])
