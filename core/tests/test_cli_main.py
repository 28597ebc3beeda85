"""The console script's frame: version, help, exit codes, and that a broken command spoils no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import penstock
from penstock.cli import main as cli
from penstock.errors import ConfigError, ConnectorError, FunctionError, NotConnected, PluginError


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`penstock --version`: one line, exit code 0."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"penstock {penstock.__version__}\n"


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
    assert "usage: penstock" in capsys.readouterr().out


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
    """`penstock` and `python -m penstock.cli.main`; neither imports a command that was not asked for."""
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
    loaded = [
        "cli", "cli.main", "errors", "exports", "known_secrets", "queues", "queues.forks",
        "version", "worker", "worker.listener", "worker.streams",
    ]  # fmt: skip
    assert imported.stdout.splitlines()[1] == str([f"penstock.{name}" for name in loaded])
    if script.exists():
        installed = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
        assert installed.stdout == module.stdout
