"""The command line: one list of commands, one loop, one place where errors become exit statuses.

A command is a module of liballoc.commands with NAME, prepare_parser(parser), run(arguments) -> int
and a docstring, whose first line is its help.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast

from liballoc import __version__
from liballoc.errors import LiballocError, one_line

COMMANDS = ("bench", "build", "compare", "config", "elf", "order_book", "run", "smoke", "soak")

# `run` ends with its command's status, so its own complaints have statuses as those of env(1).
WRAPPER, WRAPPER_USAGE = "run", 125

EXIT_STATUSES = "exit status: 0 fine, 1 a check failed, 2 usage, 3 a tool is missing"


class Command(Protocol):
    """What a module of liballoc.commands offers."""

    NAME: str
    prepare_parser: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    __doc__: str | None


def load_commands(names: Sequence[str] = COMMANDS) -> Iterator[Command]:
    """Import the commands; a module that is not shipped here is left out."""
    for name in names:
        module = f"liballoc.commands.{name}"
        if importlib.util.find_spec(module) is not None:
            yield cast(Command, importlib.import_module(module))


def build_parser(commands: Sequence[Command]) -> argparse.ArgumentParser:
    """One sub-parser a command."""
    parser = argparse.ArgumentParser(
        prog="liballoc",
        description="Build, check and run liballoc, a drop-in malloc for Linux.",
        epilog=EXIT_STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"liballoc {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in commands:
        text = command.__doc__ or command.NAME
        sub = subparsers.add_parser(
            command.NAME,
            help=text.splitlines()[0],
            description=text,
            epilog=getattr(command, "EPILOG", EXIT_STATUSES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.prepare_parser(sub)
        sub.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None, commands: Sequence[Command] | None = None) -> int:
    """Parse, run, and turn an error into one line on stderr and its exit status."""
    parser = build_parser(list(load_commands()) if commands is None else commands)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parser.parse_args(words)
    except SystemExit as end:
        wrapped = bool(end.code) and words[:1] == [WRAPPER]
        return WRAPPER_USAGE if wrapped else int(end.code or 0)
    try:
        return int(arguments.run(arguments))
    except LiballocError as error:
        print(f"liballoc {arguments.command}: {one_line(str(error))}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
