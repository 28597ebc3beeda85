"""Commands that plugins add to `penstock`: found when they are asked for, and not before."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from penstock.cli.main import main

PLUGIN = """
from penstock.hookspecs import hookimpl
from penstock.specs import CommandSpec

PLUGIN_API = 1

@hookimpl
def penstock_commands():
    return [
        CommandSpec("greet", "greeting:Greet", summary="says hello"),
        CommandSpec("greet.lost", "greeting:Nothing"),
        CommandSpec("run", "greeting:Greet"),
    ]
"""
COMMAND = """
class Greet:
    @staticmethod
    def configure(parser):
        parser.add_argument("name")

    @staticmethod
    def run(arguments):
        print(f"hello {arguments.name}")
        return 7
"""


@pytest.fixture(autouse=True)
def greeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A plugin with commands is installed, as far as the metadata tell."""
    (tmp_path / "greeting_plugin.py").write_text(PLUGIN)
    (tmp_path / "greeting.py").write_text(COMMAND)
    metadata = tmp_path / "greeting-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[penstock]\ngreet = greeting_plugin\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for module in ("greeting", "greeting_plugin"):
        sys.modules.pop(module, None)


def test_a_command_is_run_with_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """Its exit code is the process's."""
    assert main(["greet", "world"]) == 7
    assert capsys.readouterr().out == "hello world\n"


def test_a_command_has_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    """With what it takes."""
    with pytest.raises(SystemExit, match="0"):
        main(["greet", "--help"])
    assert "says hello" in (shown := capsys.readouterr().out)
    assert "name" in shown


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_the_cores_own_commands_load_no_plugin(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is broken; and a plugin's command of the same name is never asked for."""
    with suppress(SystemExit):  # help ends so
        main(arguments)
    assert capsys.readouterr().out
    assert "greeting_plugin" not in sys.modules
    assert "greeting" not in sys.modules


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("gret", "did you mean 'greet'?"),
        ("chekc", "did you mean 'check'?"),
        ("postgress", "did you mean 'postgres'"),
        ("greet.lost", "'greeting:Nothing' cannot be imported"),
    ],
)
def test_a_command_that_is_none_is_told_with_what_was_meant(
    command: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit code 2, as every wrong command line."""
    with pytest.raises(SystemExit, match="2"):
        main([command])
    assert said in capsys.readouterr().err
