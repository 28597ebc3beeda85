"""The console script's frame: version, help, exit codes, and that a broken command spoils no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import penstock
from penstock.cli import main as cli
from penstock.errors import ConfigError, ConnectorError, FunctionError, NotConnected, PluginError
from penstock.terminal import colours


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock --version`: one line, exit code 0."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"penstock {penstock.__version__}\n"


def test_the_version_has_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock version` is what people type first."""
    assert cli.main(["version"]) == 0
    assert capsys.readouterr().out == f"penstock {penstock.__version__}\n"


@pytest.mark.parametrize("command", ["run", "queue", None])
def test_help_is_a_command_too(command: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock help run` prints what `penstock run --help` does."""
    words = [] if command is None else [command]
    with pytest.raises(SystemExit):
        cli.main([*words, "--help"])
    by_option = capsys.readouterr().out

    assert cli.main(["help", *words]) == 0
    assert capsys.readouterr().out == by_option


def test_help_for_a_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """As the command itself would."""
    assert cli.main(["help", "chekc"]) == 2
    assert capsys.readouterr().err == "penstock: there is no command 'chekc'; did you mean 'check'?\n"


@pytest.mark.parametrize(("typed", "meant"), [("rum", "run"), ("chek", "check"), ("plugin", "plugins"), ("RUN", "run")])
def test_a_mistyped_command_is_answered_with_the_nearest(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Short ones, too."""
    with pytest.raises(SystemExit) as caught:
        cli.main([typed])

    assert caught.value.code == 2
    assert f"there is no command {typed!r}; did you mean {meant!r}?" in capsys.readouterr().err


def test_a_command_that_is_near_to_none_is_answered_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    """The core's, and those of plugins."""
    with pytest.raises(SystemExit):
        cli.main(["walk"])

    shown = capsys.readouterr().err
    assert all(command in shown for command in (*cli.COMMANDS, "postgres", "new"))


@pytest.mark.parametrize("arguments", [["--color", "always", "help", "walk"], ["help", "walk", "--color=always"]])
def test_an_error_is_red_where_colours_are_on(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--color` may stand before and behind the command."""
    monkeypatch.setattr(colours, "_choice", "auto")  # and is put back afterwards

    assert cli.main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("\x1b[31mpenstock: ")
    assert shown.endswith("\x1b[0m\n")


def test_a_file_sets_variables_that_are_not_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--env-file`, before or behind the command; the environment wins."""
    monkeypatch.setattr(os, "environ", dict(os.environ, SHOP_SET="environment"))
    file, queues = tmp_path / ".env", tmp_path / "queues.yml"
    file.write_text(
        '# the shop\n\nSHOP_PLAIN = a=b c # why\nexport SHOP_QUOTED="it\'s # here" # why\n'
        "SHOP_SET=file\nSHOP_EMPTY=\nSHOP_RAW='${HOME}'\n"
    )
    queues.write_text("orders: {profile: memory}\n")

    assert cli.main(["--env-file", str(file), "check", str(queues)]) == 0
    assert cli.main(["check", str(queues), f"--env-file={file}"]) == 0
    assert {name: value for name, value in os.environ.items() if name.startswith("SHOP_")} == {
        "SHOP_PLAIN": "a=b c",
        "SHOP_QUOTED": "it's # here",
        "SHOP_SET": "environment",
        "SHOP_EMPTY": "",
        "SHOP_RAW": "${HOME}",
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("A=1\nhunter2\n", ":2: is not NAME=value; correct the line, or begin it with # if it is a comment"),
        ('A="hunter2\n', ":1: the quote does not end on its line; write the whole value on one line"),
        (b"A=\xff", ": byte 2 is not UTF-8; save the file as UTF-8"),
        (None, ": cannot be read: No such file or directory"),
    ],
)
def test_a_wrong_file_of_variables_is_named(
    tmp_path: Path, content: str | bytes | None, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its line, which is not shown."""
    file = tmp_path / ".env"
    if content is not None:
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    assert cli.main(["run", "app.py", "--env-file", str(file)]) == 2
    assert capsys.readouterr().err == f"penstock: --env-file {file}{problem}\n"


def test_help_lists_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock --help`."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])

    shown = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    for name, summary in cli.COMMANDS.items():
        assert f"{name} {summary}" in shown
    assert "exit codes: 0 done, 1 the work failed, 2 wrong command line or configuration, 3 a drain was" in shown


def test_without_a_command_help_is_printed_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that forgot the command must not look as if it had worked."""
    assert cli.main([]) == 2
    shown = capsys.readouterr().out
    assert "usage: penstock" in shown
    assert len(re.findall(r"^  penstock \w", shown, re.MULTILINE)) == 3  # examples
    assert "`penstock help` lists all commands" in shown


@pytest.mark.parametrize("arguments", [["walk"], ["run"], ["run", "app.py", "--fast"], ["--fast"]], ids=" ".join)
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What argparse refuses; on standard error, with the usage."""
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)

    assert caught.value.code == 2
    assert "usage: penstock" in capsys.readouterr().err


def test_a_mistyped_option_is_answered_with_the_one_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """As for any other name."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", "app.py", "--dran"])

    assert caught.value.code == 2
    assert "unrecognized arguments: --dran; did you mean '--drain'?" in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock COMMAND --help`."""
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"])

    assert caught.value.code == 0
    assert f"usage: penstock {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("first.", "second."), 2),
        (PluginError("no such plugin"), 2),
        (FunctionError("wrong arity"), 2),
        (ConnectorError("refused"), 1),
        (NotConnected("away"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_error_has_its_exit_code_and_no_trace(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """2: change the command line, the configuration or the code; 1: the work failed."""

    def fail(_: Any) -> int:
        raise error

    use(monkeypatch, run=fail)

    assert cli.main(["run"]) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"penstock: {error}\n")


def test_the_exit_code_of_a_command_is_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """`penstock check` says 2 by itself."""
    use(monkeypatch, run=lambda _: 2)

    assert cli.main(["run"]) == 2


def test_an_error_of_the_users_code_keeps_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not ours to shorten."""

    def fail(_: Any) -> int:
        raise LookupError("mine")

    use(monkeypatch, run=fail)

    with pytest.raises(LookupError):
        cli.main(["run"])


def use(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """Put a command in the place of `run`."""
    command = SimpleNamespace(configure=lambda _: None, run=run)
    monkeypatch.setattr(cli, "import_module", lambda _: command)


@pytest.mark.parametrize("arguments", [["--version"], ["plugins"], ["schema"], ["--help"]], ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_seen_enough_is_no_error(arguments: list[str], unbuffered: str) -> None:
    """`penstock plugins | head -1` ends quietly, at once or when Python flushes at its end."""
    read, write = os.pipe()
    os.close(read)

    result = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", *arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        text=True,
        timeout=60,
    )
    os.close(write)

    assert (result.returncode, result.stderr) == (0, "")


def test_the_console_script_and_the_module_are_the_same(tmp_path: Path) -> None:
    """`penstock`, `python -m penstock`, `python -m penstock.cli.main`; none imports a command it was not asked for."""
    code = (
        "import sys\nfrom penstock.cli.main import main\nmain(['--version'])\n"
        "print(sorted(name for name in sys.modules if name.startswith('penstock.')))"
    )
    script = Path(sys.executable).with_name("penstock")

    module = subprocess.run(
        [sys.executable, "-m", "penstock.cli.main", "--version"], capture_output=True, text=True, timeout=60
    )
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert module.stdout == f"penstock {penstock.__version__}\n"
    short = subprocess.run([sys.executable, "-m", "penstock", "--version"], capture_output=True, text=True, timeout=60)
    assert short.stdout == module.stdout
    loaded = [
        "cli", "cli.exits", "cli.main", "errors", "exports", "known_secrets", "queues", "queues.forks",
        "version", "worker", "worker.listener", "worker.streams",
    ]  # fmt: skip
    assert imported.stdout.splitlines()[1] == str([f"penstock.{name}" for name in loaded])
    if script.exists():
        installed = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
        assert installed.stdout == module.stdout
