"""Measure allocbench's profiles and real programs under every allocator of this machine.

Without names a quick form of under three minutes; --full takes all profiles and all programs of
workloads/ that are not marked long. Names are globs: 'allocbench/*', 'hotpath/*', 'python-*'.
Every run is in the results file before the next begins: --resume goes on after an interrupt.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from liballoc.allocators.registry import run_quietly
from liballoc.commands import measuring
from liballoc.errors import CheckFailedError, ToolMissingError, UsageError, one_line
from liballoc.measure import selfmeasured
from liballoc.measure.record import Item
from liballoc.measure.subject import FromWorkload, Subject
from liballoc.report.table import print_table
from liballoc.results.store import make_folder, write_json
from liballoc.toolchain.driver import find_root
from liballoc.workload.loader import load_folder
from liballoc.workload.venv import Venvs

NAME = "bench"
EPILOG = "exit status: 0 fine, 1 it failed under some allocator, 2 usage, 3 a tool is missing"

QUICK_ROUNDS, FULL_ROUNDS = 10, 15
# With the build and the report it stays under three minutes.
QUICK_SECONDS = 140.0

Subjects = list[Subject]


# Of allocbench's calls: its own default. A program does the same in every run too; with another
# list the peak of `large`, about 50 blocks, differed by a seventh between two runs of the bench.
SEQUENCE_SEED = 1337


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc bench`."""
    measuring.add_flags(parser, 0)
    parser.add_argument("names", nargs="*", metavar="NAME", help="items to measure (globs)")
    parser.add_argument(
        "--ladder", action="store_true", help="draw what the rungs of the ladder show instead"
    )
    parser.add_argument("--full", action="store_true", help="everything, more rounds")


def every_subject(root: Path, *, full: bool) -> tuple[Subjects, Subjects]:
    """All that can be named, and what is measured without names."""
    program = root / "zig-out" / "bin" / "allocbench"
    listed = run_quietly([str(program), "--list", "--json"])
    if not listed:
        raise ToolMissingError(f"{program}: no such program; build it with ./dev build")
    known = json.loads(listed)
    profiles = selfmeasured.profiles(program, known, os.environ, SEQUENCE_SEED, full=True)
    quick = selfmeasured.profiles(program, known, os.environ, SEQUENCE_SEED, full=False)
    cases = selfmeasured.cases(root / "zig-out" / "bin" / "hotpath", os.environ)
    venvs = Venvs(root / "zig-out" / "venvs")
    workloads = load_folder(root / "workloads")
    programs: Subjects = [
        FromWorkload(Item(each.name, each.why, "program", "cpu_s"), each, os.environ, venvs)
        for each in workloads
    ]
    if full:
        usual: Subjects = [*profiles, *(
            subject for subject, each in zip(programs, workloads, strict=True) if not each.long
        )]  # fmt: skip
    else:
        usual = [*quick, *(
            subject for subject, each in zip(programs, workloads, strict=True) if each.quick
        )]  # fmt: skip
    return [*profiles, *cases, *programs], usual


def choose(every: Subjects, usual: Subjects, names: Sequence[str]) -> Subjects:
    """Those that a name fits; every name must fit one."""
    if not names:
        return usual
    for name in names:
        if not any(fnmatch.fnmatchcase(subject.item.name, name) for subject in every):
            raise UsageError(f"nothing is called {name!r}")
    return [
        subject
        for subject in every
        if any(fnmatch.fnmatchcase(subject.item.name, name) for name in names)
    ]


def command_line(arguments: argparse.Namespace) -> str:
    """The command that measures the same again."""
    words = ["./dev", NAME, "--", *(["--full"] if arguments.full else [])]
    return one_line(shlex.join([*words, *measuring.words_of(arguments), *arguments.names]))


def draw_ladder(root: Path, folder: Path) -> int:
    """Run the ladder and draw its JSON."""
    from liballoc.report import ladder, page  # noqa: PLC0415 (the plots' packages)

    command = [str(root / "zig-out" / "bin" / "allocbench"), "--ladder", "--json"]
    text = run_quietly(command)
    if not text:
        raise ToolMissingError(f"{command[0]} --ladder: did not run; build it with ./dev build")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise CheckFailedError(f"the ladder printed no JSON: {error}") from error
    plots = ladder.draw(document)
    make_folder(folder)
    write_json(folder / "ladder.json", document)
    for plot in plots:
        (folder / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
    shown = "./dev bench -- --ladder"
    (folder / "ladder.html").write_text(page.ladder_page(document, shown, plots), encoding="utf-8")
    table = ladder.table(document)
    print_table(table.title, table.columns, table.rows, right=table.columns[2:])
    print(f"page: {folder / 'ladder.html'}")
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Measure and report."""
    limited = not (arguments.full or arguments.names or arguments.rounds)
    if not arguments.rounds:
        arguments.rounds = FULL_ROUNDS if arguments.full else QUICK_ROUNDS
    if limited:
        arguments.seconds = min(arguments.seconds, QUICK_SECONDS)
    measuring.check_flags(arguments)
    title = "Allocators measured"
    if arguments.read:
        return measuring.measure(arguments, arguments.report, command_line, lambda seed: (), title)
    root = find_root(Path.cwd())
    if arguments.ladder:
        return draw_ladder(root, arguments.report or root / "zig-out" / "reports" / "ladder")
    folder = measuring.choose_folder(arguments, root / "zig-out" / "reports" / "bench")

    def make(_seed: int) -> Subjects:
        every, usual = every_subject(root, full=arguments.full)
        return choose(every, usual, arguments.names)

    return measuring.measure(arguments, folder, command_line, make, title)
