"""Run real programs with and without the library and compare what they do.

Every TOML file of the folder is a program (workloads/README.md describes the keys). A program
that is missing here is skipped, which fails only with --no-skip or LIBALLOC_NO_SKIP=1.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from liballoc import __version__
from liballoc.elf import image
from liballoc.errors import UsageError
from liballoc.report.table import print_table
from liballoc.results.store import check_target, make_folder, write_json
from liballoc.toolchain.driver import find_root
from liballoc.toolchain.variants import DEFAULT_ARCHITECTURE, Variant
from liballoc.units import KIB, format_bytes, format_seconds
from liballoc.workload.loader import load_file, load_folder
from liballoc.workload.schema import Workload
from liballoc.workload.smoke import FAIL, SKIPPED, Result, SmokeRun
from liballoc.workload.venv import Venvs

NAME = "smoke"

COLUMNS = ("program", "result", "proven", "time", "on liballoc", "peak", "on liballoc ", "why")
RIGHT = COLUMNS[2:7]


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc smoke`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads to run (globs)")
    parser.add_argument("--folder", type=Path, help="where the TOML files are (workloads/)")
    parser.add_argument("--file", type=Path, action="append", help="one TOML file; repeatable")
    parser.add_argument(
        "--library", dest="preload", type=Path, help="the .so to preload (zig-out/lib/liballoc.so)"
    )
    parser.add_argument("--json", type=Path, help="where results go (zig-out/reports)")
    parser.add_argument("--full", action="store_true", help="the long workloads too")
    parser.add_argument("--no-skip", action="store_true", help="a missing program is a failure")


def choose(workloads: Sequence[Workload], names: Sequence[str]) -> list[Workload]:
    """The workloads that a name or glob fits; every name must fit one."""
    for name in names:
        if not any(fnmatch.fnmatchcase(workload.name, name) for workload in workloads):
            raise UsageError(f"no workload is called {name!r}")
    return [
        workload
        for workload in workloads
        if not names or any(fnmatch.fnmatchcase(workload.name, name) for name in names)
    ]


def leave_out_long(workloads: Sequence[Workload], names: Sequence[str]) -> list[Workload]:
    """Without the long ones, but for those whose whole name was given."""
    kept = [workload for workload in workloads if not workload.long or workload.name in names]
    if len(kept) < len(workloads):
        print(f"{len(workloads) - len(kept)} long ones are left out; --full runs them")
    return kept


def load(arguments: argparse.Namespace) -> list[Workload]:
    """The workloads that the command line asks for."""
    if arguments.file:
        found = [workload for file in arguments.file for workload in load_file(file)]
    else:
        found = load_folder(arguments.folder or find_root(Path.cwd()) / "workloads")
    chosen = choose(found, arguments.names)
    return chosen if arguments.full else leave_out_long(chosen, arguments.names)


def run(
    arguments: argparse.Namespace, run_one: Callable[[Workload, Path], Result] | None = None
) -> int:
    """Run all, print the table, write the JSON; 1 when something failed."""
    workloads = load(arguments)
    library = arguments.preload
    if library is None:
        library = Variant("release", DEFAULT_ARCHITECTURE).shared(find_root(Path.cwd()))
    if not library.is_file():
        raise UsageError(f"{library}: no such library; build it with ./dev build")
    image.check_preloadable(library, platform.machine())
    target = arguments.json
    if target is None:
        target = find_root(Path.cwd()) / "zig-out" / "reports" / "preload-smoke.json"
        make_folder(target.parent)
    check_target(target)
    venvs = None
    if any(workload.requirements for workload in workloads):
        venvs = Venvs(find_root(Path.cwd()) / "zig-out" / "venvs")
    results = []
    for workload in workloads:
        if run_one:
            result = run_one(workload, library)
        else:
            result = SmokeRun(workload, library, venvs=venvs).run()
        results.append(result)
        print(f"{result.state:>8}  {result.name}", flush=True)
    no_skip = arguments.no_skip or os.environ.get("LIBALLOC_NO_SKIP") == "1"
    write_json(target, as_json(results, library))
    show(results, library)
    print(f"results: {target}")
    bad = [result for result in results if is_bad(result, no_skip)]
    print(summary(results))
    return 1 if bad else 0


def is_bad(result: Result, no_skip: bool) -> bool:
    """Whether the command must fail because of it."""
    return result.state == FAIL or (no_skip and result.state == SKIPPED)


def summary(results: Sequence[Result]) -> str:
    """One line with the counts."""
    states = [result.state for result in results]
    parts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    return f"preload-smoke: {', '.join(parts)}"


def as_json(results: Sequence[Result], library: Path) -> dict[str, object]:
    """The document that is written."""
    return {
        "format": 1,
        "liballoc": __version__,
        "library": str(library),
        "results": [asdict(result) for result in results],
    }


def show(results: Sequence[Result], library: Path) -> None:
    """Print the table, then the reasons of what did not go well."""
    rows = [row(result) for result in results]
    print_table(f"Programs on {library.name}", COLUMNS, rows, right=RIGHT)
    print("proven: processes in which the library was active; time and peak resident memory are")
    print("for information (a peak under 10 MiB is that of the process that starts the program).")
    for result in results:
        for reason in result.reasons:
            print(f"{result.state} {result.name}: {reason}")


def row(result: Result) -> tuple[str, ...]:
    """A row of the table."""
    if result.state == SKIPPED:
        return (result.name, result.state, "", "", "", "", "", result.why)
    return (
        result.name,
        result.state,
        str(len({process.pid for process in result.proven})),
        format_seconds(result.seconds_without),
        format_seconds(result.seconds_with),
        format_bytes(result.peak_kib_without * KIB),
        format_bytes(result.peak_kib_with * KIB),
        result.why,
    )
