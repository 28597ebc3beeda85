"""`penstock help`: lists the commands, or explains one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from penstock.cli.main import command_line, configured


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `penstock help`."""
    parser.add_argument("command", nargs="?", metavar="COMMAND", help="the command to explain; all, if not given")


def run(arguments: Namespace) -> int:
    """Print what `--help` prints.

    Raises:
        PluginError: there is no such command.
    """
    parser, commands = command_line()
    if arguments.command is not None:
        configured(arguments.command, commands)
        parser = commands.choices[arguments.command]
    parser.print_help()
    return 0
