"""What `bench` and `compare` share: their flags, the run of a measurement, and its report."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from liballoc import __version__
from liballoc.allocators import preload, registry
from liballoc.allocators.registry import Allocator
from liballoc.errors import ToolMissingError, UsageError
from liballoc.measure.machine import describe
from liballoc.measure.plan import Place
from liballoc.measure.record import Header
from liballoc.measure.subject import Subject
from liballoc.report.table import make_console
from liballoc.results.runs import NAME, ResultsFile, read
from liballoc.results.store import check_target, make_folder, write_json

ROUNDS_MAX = 10_000
REPORT = "report"


def add_flags(parser: argparse.ArgumentParser, rounds: int) -> None:
    """The flags of both commands."""
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=PATH", help="a further .so; repeatable"
    )
    parser.add_argument(
        "--on", action="append", default=[], metavar="NAME", help="only these allocators and glibc"
    )
    parser.add_argument("--library", dest="preload", type=Path, help="the liballoc.so to measure")
    parser.add_argument("--rounds", type=int, default=rounds, help="runs of each (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"),
        help="begin no round that would end later, once there are 5 (no limit)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="of the order (a new one, printed)")
    parser.add_argument("--report", type=Path, help="folder of results and report")
    parser.add_argument("--resume", action="store_true", help="go on with the folder's results")
    parser.add_argument("--read", action="store_true", help="run nothing: report the folder again")


def words_of(arguments: argparse.Namespace) -> list[str]:
    """The flags of both commands as they were given, for the command that measures the same."""
    words = ["--rounds", str(arguments.rounds)]
    if arguments.seconds != float("inf"):
        words += ["--seconds", f"{arguments.seconds:g}"]
    if arguments.seed is not None:
        words += ["--seed", str(arguments.seed)]
    if arguments.preload is not None:
        words += ["--library", str(arguments.preload)]
    for peer in arguments.peer:
        words += ["--peer", peer]
    for name in arguments.on:
        words += ["--on", name]
    return words


def check_flags(arguments: argparse.Namespace) -> None:
    """UsageError where a number is none that can be meant, or packages are missing."""
    if not 1 <= arguments.rounds <= ROUNDS_MAX:
        raise UsageError(f"--rounds {arguments.rounds}: is not from 1 to {ROUNDS_MAX}")
    if not arguments.seconds > 0:
        raise UsageError(f"--seconds {arguments.seconds:g}: is not above 0")
    if arguments.seed is not None and not 0 <= arguments.seed < 1 << 63:
        raise UsageError(f"--seed {arguments.seed}: is not a number from 0 on")
    if (arguments.resume or arguments.read) and arguments.report is None:
        raise UsageError("--resume and --read need the folder: --report FOLDER")
    try:
        import jinja2  # noqa: F401, PLC0415
        import matplotlib  # noqa: F401, PLC0415
        import scipy  # noqa: F401, PLC0415
    except ImportError as error:
        raise ToolMissingError(
            f"{error.name} is missing: pip install 'liballoc[measure]', or start with ./dev"
        ) from error


def choose_folder(arguments: argparse.Namespace, default: Path) -> Path:
    """Where results go: none that holds a measurement or its report. It is made later."""
    folder: Path = arguments.report or default / time.strftime("%Y%m%d-%H%M%S")
    if arguments.resume or arguments.read:
        if not (folder / NAME).is_file():
            raise UsageError(f"{folder / NAME}: no such file")
    elif (folder / NAME).exists():
        raise UsageError(f"{folder / NAME}: is there already; --resume goes on with it")
    else:
        for pattern in (f"{REPORT}.*", "*.svg"):
            for path in sorted(folder.glob(pattern)):
                raise UsageError(f"{path}: is there already; give another folder")
    return folder


def find_allocators(arguments: argparse.Namespace) -> list[Allocator]:
    """The allocators of this machine and of the command line; says what is not installed."""
    named = registry.parse_peers(arguments.peer)
    taken = {allocator.name for allocator in named}
    installed, missing = registry.find_peers()
    library = arguments.preload or preload.find_library(registry.machine())
    found = [
        registry.glibc(),
        registry.own(library),
        *(peer for peer in installed if peer.name not in taken),
        *named,
    ]
    for line in missing:
        if line.split()[0] not in taken:
            print(line)
    return registry.choose(found, arguments.on)


def header_of(
    arguments: argparse.Namespace,
    command: str,
    seed: int,
    allocators: Sequence[Allocator],
    subjects: Sequence[Subject],
) -> Header:
    """The header of a results file."""
    entries = [
        {**asdict(allocator), "path": str(allocator.path) if allocator.path else ""}
        for allocator in allocators
    ]
    return Header(
        command, seed, arguments.rounds, describe(), entries,
        [subject.item for subject in subjects], __version__,
    )  # fmt: skip


Make = Callable[[int], Sequence[Subject]]
"""What is measured, given the seed."""
Shown = Callable[[argparse.Namespace], str]
"""The command that measures the same again, given all flags."""


def measure(
    arguments: argparse.Namespace, folder: Path, command: Shown, make: Make, title: str
) -> int:
    """Measure and report; an interrupt reports what there is."""
    # Here, because commands are loaded where only these have their packages.
    from liballoc.measure.engine import Engine, Plan, worked  # noqa: PLC0415

    path = folder / NAME
    if arguments.read:
        return report(folder, title)
    seed = arguments.seed
    if arguments.resume:
        seed = read(path)[0].seed
    elif seed is None:
        seed = random.SystemRandom().randrange(1 << 32)
    arguments.seed = seed
    subjects = make(seed)
    allocators = find_allocators(arguments)
    header = header_of(arguments, command(arguments), seed, allocators, subjects)
    names = ", ".join(f"{each.name} {each.version}".strip() for each in allocators)
    if not arguments.resume:
        # Only now: what a flag names may not be there, and an empty folder would stay.
        make_folder(folder)
        check_target(folder / f"{REPORT}.json")
    with ResultsFile(path, header, resume=arguments.resume) as results:
        print(f"seed {seed}; {len(subjects)} items on {names}")
        print(f"results: {path}", flush=True)
        plan = Plan(subjects, allocators, arguments.rounds, seed, arguments.seconds)
        with make_progress() as bar:
            task = bar.add_task("", total=None)

            def progress(place: Place, done: int, total: int) -> None:
                what = f"round {place.round or 'of probes'}: {place.item} on {place.allocator}"
                bar.update(task, completed=done, total=total, description=what)

            engine = Engine(plan, results.add, done=list(results.done), progress=progress)
            try:
                engine.run()
                bar.update(task, description="done", completed=bar.tasks[0].total)
            except KeyboardInterrupt:
                print(f"interrupted; --resume --report {folder} goes on")
        if not worked(results.done):
            for run in results.done:
                print(f"{run.item} on {run.allocator or 'this machine'}: {run.reason}")
            return 1
    return report(folder, title)


def make_progress() -> Progress:
    """A bar on a terminal; nothing in a log."""
    console = make_console()
    return Progress(
        BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip


def report(folder: Path, title: str) -> int:
    """Print and write everything; 1 when some allocator failed."""
    from liballoc.measure.record import FAILED  # noqa: PLC0415
    from liballoc.measure.summary import summarise  # noqa: PLC0415
    from liballoc.report import figures, measured, page  # noqa: PLC0415

    summary = summarise(*read(folder / NAME))
    plots = figures.draw(summary)
    write_json(folder / f"{REPORT}.json", measured.as_json(summary))
    for plot in plots:
        (folder / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8")
    text = page.as_markdown(summary, title, plots)
    (folder / f"{REPORT}.md").write_text(text, encoding="utf-8")
    (folder / f"{REPORT}.html").write_text(page.as_page(summary, title, plots), encoding="utf-8")
    measured.show(summary)
    print(f"page: {folder / REPORT}.html")
    return 1 if any(row.state == FAILED for row in summary.rows) else 0
