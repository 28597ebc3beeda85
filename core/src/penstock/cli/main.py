"""`penstock`: parses the command line and imports a command only when it is asked for.

Exit codes: 0 done; 1 the work failed (the error says what); 2 the command line or the configuration is wrong;
3 a drain was stopped before its end; 130 stopped by a second signal.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from penstock.cli.exits import ABORTED, NOT_DRAINED, exit_code
from penstock.errors import PenstockError, PluginError, UnknownNameError
from penstock.known_secrets import hide
from penstock.version import __version__
from penstock.worker import streams
from penstock.worker.listener import Stopped, listening, stop_early

COMMANDS = {
    "run": "run engines until a signal, or until their queues are empty",
    "check": "check programs and configurations, print what they set, ask servers if wanted",
    "queue": "publish to a queue and look at it, on a configuration alone",
    "dead-letters": "look at the letters of a dead-letter queue, and send them back, export or drop them",
    "plugins": "list what is installed",
    "schema": "print the JSON schema of a configuration, for editors",
    "completion": "print what completes commands, options and queues in a shell",
    "version": "print the version",
    "help": "explain a command",
}
"""Each is a module `penstock.cli.<name>` ("_" for "-") with `configure(parser)` and `run(arguments) -> exit code`."""

MISTYPED = 0.6  # how alike two names must be here: commands are few and short, and 'rum' is to 'run' 0.67

EXAMPLES = """\
  penstock check queues.yml       Is the configuration right?
  penstock run app.py             Run the engines of a program until Ctrl-C.
  penstock run app.py --drain --feed orders=orders.jsonl
                                  Work off a file of JSON lines, then stop.

`penstock help` lists all commands, `penstock help COMMAND` explains one."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Returns the exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next
        import_module("penstock.cli.completion").complete()
    if any(word.startswith("--color") for word in argv):
        argv = _choose_colours(argv)
    if any(word.startswith("--env-file") for word in argv):
        try:
            argv = _read_env_files(argv)
        except PenstockError as error:
            print(_shown(error), file=sys.stderr)
            return exit_code(error)
    with listening(stop_early, _end_at_once) as listener:
        try:
            streams.guard(patient=_asked(argv) != "run")
            code = _main(argv)
        except Stopped:
            return _stopped_early(argv)
        # A program may catch what the signal raised while it was imported, or raise another error for it.
        early = listener is not None and listener.received and not listener.diverted
        return _stopped_early(argv) if early else code


def _choose_colours(argv: Sequence[str]) -> list[str]:
    """Do what `--color` says, wherever it stands; returns the other words."""
    from penstock.terminal import colours  # only an option or an error needs it

    parser = argparse.ArgumentParser(prog="penstock", add_help=False, allow_abbrev=False)
    parser.add_argument("--color", choices=colours.CHOICES, default="auto")
    options, others = parser.parse_known_args(argv)
    colours.choose(options.color)
    return others


def _read_env_files(argv: Sequence[str]) -> list[str]:
    """Do what `--env-file` says, wherever it stands; returns the other words."""
    from penstock.cli.env_file import fill_environment  # only an option needs it

    parser = argparse.ArgumentParser(prog="penstock", add_help=False, allow_abbrev=False)
    parser.add_argument("--env-file", action="append", metavar="FILE")
    options, others = parser.parse_known_args(argv)
    for path in options.env_file or ():
        fill_environment(path)
    return others


def _asked(argv: Sequence[str]) -> str | None:
    return next((word for word in argv if not word.startswith("-")), None)


def _stopped_early(argv: Sequence[str]) -> int:
    """The exit code for a signal before the work began: a worker is done but not drained, others are aborted."""
    if _asked(argv) != "run":
        return ABORTED
    return NOT_DRAINED if any(len(word) > 2 and "--drain".startswith(word) for word in argv) else 0


def _end_at_once() -> None:
    os._exit(ABORTED)


def _main(argv: Sequence[str]) -> int:
    parser, commands = command_line()
    asked = _asked(argv)
    start = len(argv) if asked is None else argv.index(asked)
    try:
        # Before anything is parsed, so that a plugin's command is known to the help.
        command = None if asked is None else configured(asked, commands)
    except PluginError as error:
        parser.error(str(error))
    if _options(parser, argv[:start]).version:
        print(f"penstock {__version__}")
        return 0
    if asked is None or command is None:
        print(f"{parser.format_usage()}\n{EXAMPLES}")
        return 2
    options = _options(commands.choices[asked], argv[start + 1 :])
    try:
        code = int(command.run(options))
        # A worker works without its output; of another command the output is the result.
        return code if asked == "run" else code or _unprinted()
    except PenstockError as error:
        print(_shown(error), file=sys.stderr)
        return exit_code(error)
    except (ImportError, AttributeError) as error:
        from penstock.shadowing import hidden_library

        # A file beside the program may hide a library that is imported only now.
        if (hidden := hidden_library(error)) is None:
            raise
        print(f"penstock: {type(error).__name__}: {error}; {hidden}", file=sys.stderr)
        return 2


def _shown(error: PenstockError) -> str:
    from penstock.observability.printable import lines  # only an error needs it
    from penstock.terminal.colours import red

    return red(f"penstock: {lines(hide(str(error)))}", sys.stderr)


def _unprinted() -> int:
    """1, with the reason on standard error, if what was printed could not be written."""
    if (refusal := streams.refusal()) is None:
        return 0
    print(f"penstock: {refusal}", file=sys.stderr)
    return 1


def command_line() -> tuple[argparse.ArgumentParser, Any]:
    """The parser of what stands before a command, and its commands."""
    parser = argparse.ArgumentParser(
        prog="penstock",
        description="Runs plain Python functions between named queues.",
        epilog="exit codes: 0 done, 1 the work failed, 2 wrong command line or configuration, "
        "3 a drain was stopped before its end, 130 stopped by a second signal. "
        "Plugins may add commands; `penstock plugins` lists them.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument(
        "--color",
        metavar="{auto,always,never}",
        help="colours; auto: on a terminal, unless NO_COLOR is set. It may stand behind the command, too",
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        help="variables, NAME=value a line, for what the environment does not set (repeatable). It may stand behind "
        "the command, too",
    )
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    return parser, commands


def configured(name: str, commands: Any) -> Any:
    """Import one command and configure its parser. Only this one, so that `--help` works even if another is broken.

    Raises:
        PluginError: neither the core nor a plugin has this command.
    """
    if name not in COMMANDS:
        return _from_plugin(name, commands)
    command = import_module(f"penstock.cli.{name.replace('-', '_')}")
    command.configure(commands.choices[name])
    return command


def _options(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse words; a mistyped option is answered with the one that was meant."""
    try:
        # Options may stand between what belongs together: `run app.py --drain back.py`.
        options, unknown = parser.parse_known_intermixed_args(words)
    except TypeError:
        # argparse raises this for a parser that has commands of its own.
        options, unknown = parser.parse_known_args(words)
    # A command with actions of its own says whose options were parsed.
    _reject_unknown(getattr(options, "parser", parser), unknown)
    return options


def _reject_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    if unknown:
        from penstock.plugins.hints import nearest

        # Not from the help text: that may speak of options of other commands.
        known = [option for action in parser._actions for option in action.option_strings]
        meant = next((near for word in unknown if (near := nearest(word.partition("=")[0], known))), None)
        parser.error(f"unrecognized arguments: {' '.join(unknown)}" + (f"; did you mean {meant!r}?" if meant else ""))


def _from_plugin(name: str, subparsers: Any) -> Any:
    """The command that a plugin offers by this name, with a parser of its own.

    Raises:
        PluginError: none does, or it cannot be imported.
    """
    from penstock.plugins.hints import nearest
    from penstock.plugins.registry import Registry

    registry = Registry()
    try:
        spec = registry.command(name)
    except UnknownNameError as error:
        if (meant := nearest(name, COMMANDS, MISTYPED)) is not None:
            raise UnknownNameError(f"there is no command {name!r}; did you mean {meant!r}?") from None
        raise UnknownNameError(f"{error}; the core has {', '.join(COMMANDS)}") from None
    command = registry.load(spec, spec.target)
    command.configure(subparsers.add_parser(name, help=spec.summary, description=spec.summary))
    return command


if __name__ == "__main__":
    sys.exit(main())
