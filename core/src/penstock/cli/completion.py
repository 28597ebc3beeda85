"""`penstock completion`: prints what a shell needs to complete commands, options and queues, and answers the shell.

argcomplete does both. It was chosen over shtab, because it asks this program at each key: so the queues of the
configuration on the line are completed, and the commands of plugins; and it knows fish, too.
"""

from __future__ import annotations

import os
from argparse import Action, ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from penstock.cli.main import COMMANDS, command_line, configured
from penstock.config.files import read
from penstock.errors import ConfigError
from penstock.plugins.install_commands import install_libraries
from penstock.plugins.registry import Registry

SHELLS = ("bash", "zsh", "fish")
CONFIGURATIONS = ("yml", "yaml", "toml", "json")
QUEUES = ("QUEUE", "NAME", "QUEUE=FILE")
"""How arguments are shown that are names of queues."""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `penstock completion`."""
    parser.add_argument("shell", choices=SHELLS)
    parser.epilog = (
        'bash: eval "$(penstock completion bash)" in ~/.bashrc; zsh: the same with zsh in ~/.zshrc, behind compinit; '
        "fish: penstock completion fish | source, in ~/.config/fish/config.fish."
    )


def run(arguments: Namespace) -> int:
    """Print the script.

    Raises:
        ConfigError: argcomplete is not installed.
    """
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise ConfigError(f"completion needs the library argcomplete: {install_libraries('cli')}") from None
    print(shellcode(["penstock"], shell=arguments.shell))
    return 0


def complete() -> None:
    """Answer a shell that asks what may come next on the line in COMP_LINE, and end the process."""
    import argcomplete
    from argcomplete.lexers import split_line

    _before, _prefix, _after, words, _break = split_line(os.environ["COMP_LINE"], int(os.environ["COMP_POINT"]))
    parser, commands = command_line()
    command = next((word for word in words[1:] if not word.startswith("-")), None)
    with suppress(Exception):  # the key must not print a traceback on the line that is typed
        if command is None:
            for spec in _of_plugins():
                commands.add_parser(spec)
        else:
            configured(command, commands)
            _name_queues(commands.choices[command], _Queues(words))
    argcomplete.autocomplete(parser, always_complete_options=False)


def _of_plugins() -> Iterable[str]:
    return [name for name in Registry().names("command") if name not in COMMANDS]


class _Queues:
    """Completes the names of the queues of the configuration that is on the line."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def __call__(self, prefix: str, action: Action, **_others: Any) -> Iterable[str]:
        """The names; where a file follows, with the sign between them, and then the files."""
        from argcomplete.completers import FilesCompleter

        if action.metavar != "QUEUE=FILE":
            return self._names()
        queue, equals, path = prefix.partition("=")
        return [f"{queue}={file}" for file in FilesCompleter()(path)] if equals else [f"{n}=" for n in self._names()]

    def _names(self) -> list[str]:
        places = (word.rpartition("=")[2] for word in self._words)
        path = next((place for place in places if place.rpartition(".")[2] in CONFIGURATIONS), None)
        return [] if path is None else list(read(path)[0].queues)


def _name_queues(parser: ArgumentParser, queues: _Queues) -> None:
    from argcomplete.completers import FilesCompleter

    for action in parser._actions:  # argparse has no public list of them
        if action.metavar in QUEUES:
            action.completer = queues  # type: ignore[attr-defined]
        elif action.metavar == "CONFIG":
            action.completer = FilesCompleter(CONFIGURATIONS)  # type: ignore[attr-defined]
        elif isinstance(action.choices, dict):
            for inner in action.choices.values():
                _name_queues(inner, queues)
