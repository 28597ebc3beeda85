"""`penstock new plugin`: a whole package or none, and never over something else.

That what it writes works is shown in tests/third_party.
"""

from __future__ import annotations

import ast
import re
import stat
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from penstock.cli.main import main
from penstock.cli.new import LONGEST_NAME, write_plugin

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`penstock new plugin` in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["new", "plugin", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def files(folder: Path) -> set[str]:
    """What stands in a folder, by path."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_whole_package_is_written(new: Run, tmp_path: Path) -> None:
    """With entry point, types, licence, CI and tests; and the next command is printed."""
    code, out, err = new("acme")

    assert (code, err) == (0, "")
    assert "cd penstock-acme && pip install -e '.[test]' && pytest" in out
    assert files(tmp_path) == {
        f"penstock-acme/{name}"
        for name in (
            ".github/workflows/ci.yml",
            ".gitignore",
            "LICENSE",
            "README.md",
            "pyproject.toml",
            "src/penstock_acme/__init__.py",
            "src/penstock_acme/consumer.py",
            "src/penstock_acme/database.py",
            "src/penstock_acme/options.py",
            "src/penstock_acme/plugin.py",
            "src/penstock_acme/producer.py",
            "src/penstock_acme/py.typed",
            "tests/test_conformance.py",
            "tests/test_options.py",
        )
    }


def test_the_metadata_follow_the_rules_for_plugins(tmp_path: Path) -> None:
    """One entry point, ranges that are neither exact nor open, the keyword by which plugins are found."""
    package = write_plugin("sea-shells", tmp_path)
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]

    assert project["name"] == "penstock-sea-shells"
    assert project["entry-points"] == {"penstock": {"sea-shells": "penstock_sea_shells.plugin"}}
    assert "penstock-plugin" in project["keywords"]
    assert project["requires-python"] == ">=3.11"
    for requirement in project["dependencies"]:
        assert re.fullmatch(r"[a-z]+>=[\d.]+,<[\d.]+", requirement)


def test_the_name_is_everywhere_and_the_templates_nowhere(tmp_path: Path) -> None:
    """As it is spelt in text, modules, classes and environment variables; no placeholder is left."""
    package = write_plugin("sea-shells", tmp_path)
    everything = "\n".join([*files(package), *(path.read_text() for path in package.rglob("*") if path.is_file())])

    assert not re.search(r"acme|YEAR|SPDX|\.tmpl", everything, re.IGNORECASE)
    for spelling in ("connector: sea-shells", "penstock_sea_shells", "class SeaShellsConsumer", "SEA_SHELLS_PATH"):
        assert spelling in everything


@pytest.mark.parametrize("name", ["a", "s3", "sea-shells-2", "x" * LONGEST_NAME])
def test_what_is_written_is_python_of_the_width_it_asks_for(name: str, tmp_path: Path) -> None:
    """Also with the longest name."""
    package = write_plugin(name, tmp_path)

    for path in package.rglob("*.py"):
        ast.parse(path.read_text())
        assert max(map(len, path.read_text().splitlines()), default=0) <= 120, path


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Acme", "such as 'acme'"),
        ("my_queue", "such as 'my-queue'"),
        ("a--b", "such as 'a-b'"),
        ("x/y", "such as 'x-y'"),
        ("..", "is no name for a plugin"),
        ("9lives", "a letter first"),
        ("", "is no name for a plugin"),
        ("żółw", "is no name for a plugin"),
        ("penstock-acme", "write 'acme'"),
        ("Penstock_acme", "write 'acme'"),
        ("x" * (LONGEST_NAME + 1), f"at most {LONGEST_NAME}"),
        ("kafka", "pip install 'penstock[kafka]'"),
        ("confluent", "pip install 'penstock[kafka]'"),
        ("json", "taken by penstock 0."),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, sentence: str, new: Run, tmp_path: Path) -> None:
    """With what is wrong or what to write, and nothing is written."""
    code, out, err = new(name)

    assert (code, out) == (2, "")
    assert sentence in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_nothing_is_overwritten(make: Callable[[Path], None], new: Run, tmp_path: Path) -> None:
    """Neither a folder, be it empty, nor a file, nor a link that leads nowhere."""
    place = tmp_path / "penstock-acme"
    make(place)
    before = place.lstat()

    code, _out, err = new("acme")

    assert code == 2
    assert "nothing is ever overwritten" in err
    assert place.lstat() == before
    assert list(tmp_path.iterdir()) == [place]


def test_it_goes_where_it_is_told(new: Run, tmp_path: Path) -> None:
    """The folder must exist: a misspelt one is not made."""
    (tmp_path / "there").mkdir()

    assert new("acme", "--directory", "there")[0] == 0
    assert (tmp_path / "there" / "penstock-acme" / "pyproject.toml").is_file()

    code, _out, err = new("acme", "--directory", "tehre")
    assert code == 2
    assert "--directory tehre: there is no such folder" in err


def test_what_cannot_be_written_leaves_nothing_half_written(
    new: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package appears in one step, as the last one."""

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)

    code, _out, err = new("acme")

    assert code == 2
    assert err == "penstock: penstock-acme: cannot be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    """As far as the umask lets them: it is an ordinary folder."""
    (ordinary := tmp_path / "ordinary").mkdir()

    package = write_plugin("acme", tmp_path)

    assert stat.S_IMODE(package.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


@pytest.mark.parametrize(
    ("arguments", "identifier", "begins"),
    [
        ([], "MIT", "MIT License"),
        (["--license", "MIT"], "MIT", "MIT License"),
        (["--license", "proprietary"], "LicenseRef-Proprietary", f"Copyright (c) {datetime.now(UTC).year} "),
    ],
)
def test_the_licence_is_chosen(arguments: list[str], identifier: str, begins: str, new: Run, tmp_path: Path) -> None:
    """Text and metadata say the same."""
    assert new("acme", *arguments)[0] == 0

    package = tmp_path / "penstock-acme"
    assert tomllib.loads((package / "pyproject.toml").read_text())["project"]["license"] == identifier
    assert (package / "LICENSE").read_text().startswith(begins)
