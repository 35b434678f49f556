"""Run a command of yours under every allocator of this machine, and say how they differ.

    liballoc compare -- sqlite3 my.db '.read queries.sql'
    liballoc compare --workload server.toml

Each run is a fresh process, allocators take turns in an order drawn anew each round. The command
runs in your folder with your environment; its output is thrown away. A server is described by a
workload file (workloads/README.md): its start, how it is known to be ready, its load, its stop.
Every run is in the results file before the next begins: --resume goes on after an interrupt.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from liballoc.commands import measuring
from liballoc.errors import UsageError, one_line
from liballoc.measure.record import Item
from liballoc.measure.subject import Command, FromWorkload, Subject
from liballoc.workload.loader import load_file
from liballoc.workload.venv import Venvs

NAME = "compare"
EPILOG = "exit status: 0 fine, 1 it failed under some allocator, 2 usage, 3 a tool is missing"

ROUNDS, TIMEOUT = 10, 600.0
FOLDER = Path("liballoc-compare")


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc compare`."""
    measuring.add_flags(parser, ROUNDS)
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds of a run (600)")
    parser.add_argument("--status", type=int, default=0, help="the expected exit status (0)")
    parser.add_argument("--stdin", type=Path, help="a file that each run reads (nothing)")
    parser.add_argument("--workload", type=Path, help="a workload file instead of a command")
    parser.add_argument("words", nargs="*", metavar="CMD", help="the command, after --")


def subjects_of(arguments: argparse.Namespace) -> list[Subject]:
    """The command, or the workloads of a file."""
    if (arguments.workload is None) == (not arguments.words):
        raise UsageError("give either a command after -- or --workload FILE")
    if not 0 < arguments.timeout <= 86_400:
        raise UsageError(f"--timeout {arguments.timeout:g}: is not above 0 and up to 86400")
    if arguments.workload is not None:
        venvs = Venvs(Path.home() / ".cache" / "liballoc" / "venvs")
        return [
            FromWorkload(Item(each.name, each.why, "workload", "cpu_s"), each, os.environ, venvs)
            for each in load_file(arguments.workload)
        ]
    stdin = ""
    if arguments.stdin is not None:
        try:
            stdin = arguments.stdin.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{arguments.stdin}: cannot be read as text: {error}") from error
    words = tuple(arguments.words)
    # A page is UTF-8; an argument need not be.
    name, shown = (one_line(text) for text in (Path(words[0]).name, shlex.join(words)))
    item = Item(name, shown, "command", "cpu_s")
    return [
        Command(item, words, Path.cwd(), dict(os.environ), arguments.timeout,
                status=arguments.status, stdin=stdin)
    ]  # fmt: skip


def command_line(arguments: argparse.Namespace) -> str:
    """The command that measures the same again."""
    words = ["liballoc", NAME, *measuring.words_of(arguments)]
    if arguments.workload is not None:
        words += ["--workload", str(arguments.workload)]
    else:
        if arguments.timeout != TIMEOUT:
            words += ["--timeout", f"{arguments.timeout:g}"]
        if arguments.status:
            words += ["--status", str(arguments.status)]
        if arguments.stdin is not None:
            words += ["--stdin", str(arguments.stdin)]
        words += ["--", *arguments.words]
    return one_line(shlex.join(words))


def run(arguments: argparse.Namespace, subjects: Sequence[Subject] | None = None) -> int:
    """Measure and report."""
    measuring.check_flags(arguments)
    if arguments.read:
        return measuring.measure(arguments, arguments.report, command_line, lambda seed: (), "")
    chosen = subjects_of(arguments) if subjects is None else list(subjects)
    folder = measuring.choose_folder(arguments, FOLDER)
    title = f"{', '.join(subject.item.name for subject in chosen)} under several allocators"
    return measuring.measure(arguments, folder, command_line, lambda seed: chosen, title)
