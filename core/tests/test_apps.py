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


def test_what_the_apps_own_code_raises_is_passed_on(folder: Path) -> None:
    """A missing import of the app is not a missing app; its own errors keep their traces."""
    (folder / "broken.py").write_text("import nothing_of_this_name\n")
    (folder / "worse.py").write_text("raise LookupError('mine')\n")

    for app in ("broken.py", "broken"):
        with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
            find_engines([app])
        sys.modules.pop("broken", None)
    with pytest.raises(LookupError, match="mine"):
        find_engines(["worse"])
