"""Completion in real shells: commands, options, queues of the configuration that is named, files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.terminals import Program

from penstock.cli import main as cli
from penstock.plugins.install_commands import install_libraries

SHELLS = {
    "bash": ("bash --norc -i", 'eval "$(penstock completion bash)"'),
    "zsh": ("zsh -f -i", 'autoload -Uz compinit; compinit -u -D; eval "$(penstock completion zsh)"'),
}
AS_SHELL = ("-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])")
CONFIG = "queues: {orders-of-today: {profile: memory}, invoices: {profile: memory}}\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_and_queues(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is typed, with the tabulator."""
    command, set_up = SHELLS[shell]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here")
    monkeypatch.chdir(tmp_path)
    Path("shop.yml").write_text(CONFIG)
    environment: dict[str, str | None] = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "vt100",
    }
    with Program(*AS_SHELL, *command.split(), environment=environment, columns=120) as terminal:
        terminal.type(f"{set_up}; echo re''ady\n")
        terminal.wait_until(lambda lines: "ready" in lines)
        terminal.type("penstock que\t")
        terminal.wait_for("penstock queue")
        terminal.type(f"{' ' if shell == 'zsh' else ''}shop.yml peek ord\t")  # bash adds the space itself
        terminal.wait_for("peek orders-of-today")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
def test_fish_completes_commands_and_queues(tmp_path: Path) -> None:
    """By its own command for what the tabulator would offer."""
    (tmp_path / "shop.yml").write_text(CONFIG)
    asking = (
        'penstock completion fish | source; complete -C "penstock que"; complete -C "penstock queue shop.yml peek ord"'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(
        ["fish", "--no-config", "-c", asking], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["queue", "orders-of-today"]


OFFERED = {
    "penstock ": {*cli.COMMANDS, "new", "postgres"},
    "penstock --c": {"--color"},
    "penstock run app.py --dr": {"--drain"},
    "penstock check shop.yml --input ": {"orders-of-today", "invoices"},
    "penstock run --config=shop.yml app.py --feed inv": {"invoices="},
    "penstock run app.py --config shop.yml --collect invoices=app": {"invoices=app.py"},
    "penstock queue ": {"shop.yml"},
    "penstock queue shop.yml pub": {"publish"},
    "penstock queue shop.yml publish ": {"orders-of-today", "invoices"},
    "penstock queue broken.yml peek ": set(),
    "penstock postgres mig": {"migrate"},
    "penstock completion ": {"bash", "zsh", "fish"},
}
"""A line → what is offered for it."""

ASKING = """
import os, sys
from penstock.cli.main import main
import penstock.cli.completion
for number, line in enumerate(sys.argv[1:]):
    if not os.fork():  # argcomplete ends its process
        os.environ.update(COMP_LINE=line, COMP_POINT=str(len(line)), COMP_TYPE="9", COMP_WORDBREAKS=" ")
        os.environ.update(_ARGCOMPLETE="1", _ARGCOMPLETE_IFS="|", _ARGCOMPLETE_STDOUT_FILENAME=str(number))
        main([])
    os.wait()
"""


def test_what_is_offered(tmp_path: Path) -> None:
    """Files where a file is wanted, and nothing where nothing is known."""
    (tmp_path / "shop.yml").write_text(CONFIG)
    (tmp_path / "app.py").touch()
    for number, _line in enumerate(OFFERED):
        (tmp_path / str(number)).touch()

    subprocess.run([sys.executable, "-c", ASKING, *OFFERED], cwd=tmp_path, check=True, capture_output=True)

    answers = [(tmp_path / str(number)).read_text().split("|") for number, _line in enumerate(OFFERED)]
    found = {line: {one.strip() for one in answer if one} for line, answer in zip(OFFERED, answers, strict=True)}
    assert found == OFFERED


def test_without_argcomplete_completion_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes with the extra `cli`."""
    for module in ("argcomplete", "argcomplete.shell_integration"):
        monkeypatch.setitem(sys.modules, module, None)

    assert cli.main(["completion", "bash"]) == 2
    assert capsys.readouterr().err.strip().endswith(install_libraries("cli"))
    assert "[cli]" in install_libraries("cli")
