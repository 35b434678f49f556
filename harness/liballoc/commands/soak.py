"""Run mixed programs for a long time and watch that memory and mappings do not grow.

A C program with threads in changing phases runs on the release and the debug library, beside
rounds of the shorter workloads on the release library. Every look at a process goes to
samples.jsonl in the report folder as it is made; the end writes report.md, report.json and
soak.png beside it. An interrupt (Ctrl-C) ends the run and reports what was run.
"""

from __future__ import annotations

import argparse
import platform
import random
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from liballoc import __version__
from liballoc.commands.smoke import choose
from liballoc.elf import image
from liballoc.errors import CheckFailedError, ToolMissingError, UsageError
from liballoc.measure import rows
from liballoc.measure.soak import Plan, SoakRun
from liballoc.results.journal import Journal, read_journal
from liballoc.results.store import check_target, make_folder, write_json
from liballoc.toolchain.driver import find_root
from liballoc.toolchain.variants import DEFAULT_ARCHITECTURE, MODES, Variant
from liballoc.workload.loader import load_folder
from liballoc.workload.schema import Workload
from liballoc.workload.smoke import Result, SmokeRun

NAME = "soak"

SOURCE = Path("workloads") / "src" / "soak.c"
FLAGS = ("-std=gnu11", "-O2", "-g", "-pthread", "-fno-builtin", "-D_GNU_SOURCE")
MINUTES_MAX = 7 * 24 * 60
# Workloads that may take longer would fill a round alone.
WORKLOAD_SECONDS_MAX = 120
# Beyond this many minutes the soak program reports every second, third ... cycle.
MINUTES_EVERY_CYCLE = 5

# A short run goes on until growth can be told: the trend wants eight points after its warm-up.
CYCLES_MIN = 12
# Shorter runs leave out the long forms of rows of the compatibility table.
MINUTES_WITH_ROWS = 3

Compile = Callable[[Path, Path], Path]


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc soak`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="workloads of the rounds (globs)")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, help="of everything that is random (a new one)")
    parser.add_argument("--report", type=Path, help="folder of the report (zig-out/reports/soak)")
    parser.add_argument("--no-workloads", action="store_true", help="the soak program alone")
    parser.add_argument("--on", action="append", choices=MODES, help="a library; repeatable (both)")
    parser.add_argument(
        "--read", action="store_true", help="run nothing: report the folder's samples.jsonl again"
    )
    # To see the verdict turn red: a block lost in every cycle, a byte changed in one.
    parser.add_argument("--leak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--corrupt", type=int, help=argparse.SUPPRESS)


def compile_program(source: Path, folder: Path) -> Path:
    """The soak program, made by this machine's gcc."""
    if shutil.which("gcc") is None:
        raise ToolMissingError("gcc is missing: apt-get install gcc libc6-dev")
    target = folder / source.stem
    headers = f"-I{find_root(Path.cwd()) / rows.HEADERS}"
    command = ["gcc", *FLAGS, headers, str(source), "-o", str(target), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CheckFailedError(f"{source}: gcc: {done.stderr.strip()[-300:]}")
    return target


def find_libraries(root: Path, modes: Sequence[str]) -> dict[str, Path]:
    """The built libraries by mode."""
    found = {}
    for mode in modes:
        library = Variant(mode, DEFAULT_ARCHITECTURE).shared(root).resolve()
        if not library.is_file():
            raise UsageError(f"{library}: no such library; build it with ./dev build")
        image.check_preloadable(library, platform.machine())
        found[mode] = library
    return found


def choose_workloads(found: Sequence[Workload], names: Sequence[str]) -> list[Workload]:
    """Those named, else the shorter ones that need nothing from a package index."""
    if names:
        return choose(found, names)
    return [
        workload
        for workload in found
        if not workload.long
        and not workload.requirements
        and workload.seconds <= WORKLOAD_SECONDS_MAX
    ]


def repeat_command(arguments: argparse.Namespace, seed: int) -> str:
    """The command that runs the same again."""
    words = ["./dev", "soak", "--", "--minutes", f"{arguments.minutes:g}", "--seed", str(seed)]
    for name in ("leak", "corrupt"):
        if getattr(arguments, name):
            words += [f"--{name}", str(getattr(arguments, name))]
    for mode in arguments.on or ():
        words += ["--on", mode]
    if arguments.no_workloads:
        words.append("--no-workloads")
    return shlex.join([*words, *arguments.names])


def program_arguments(arguments: argparse.Namespace) -> tuple[str, ...]:
    """What the soak program gets beside seed and time."""
    every = max(1, int(arguments.minutes / MINUTES_EVERY_CYCLE))
    words = ["--every", str(every), "--cycles", str(every * CYCLES_MIN)]
    for name in ("leak", "corrupt"):
        if getattr(arguments, name):
            words += [f"--{name}", str(getattr(arguments, name))]
    return tuple(words)


def report_folder(arguments: argparse.Namespace, root: Path) -> Path:
    """Where the report goes; a folder that the user names must be there."""
    if arguments.report is None:
        folder = root / "zig-out" / "reports" / "soak"
        make_folder(folder)
    else:
        folder = Path(arguments.report)
    check_target(folder / "report.json")
    return folder


def run(
    arguments: argparse.Namespace,
    run_workload: Callable[[Workload], Result] | None = None,
    compile_source: Compile = compile_program,
) -> int:
    """Run, report, judge: 1 when something failed."""
    root = find_root(Path.cwd())
    if not 0 < arguments.minutes <= MINUTES_MAX:
        raise UsageError(f"--minutes {arguments.minutes:g}: is not above 0 and up to {MINUTES_MAX}")
    for name in ("leak", "corrupt", "seed"):
        value = getattr(arguments, name)
        if value is not None and not 0 <= value < 1 << 63:
            raise UsageError(f"--{name} {value}: is not a number from 0 on")
    check_packages()
    folder = report_folder(arguments, root)
    samples = folder / "samples.jsonl"
    if arguments.read:
        return report(read_journal(samples), folder)
    seed = random.SystemRandom().randrange(1 << 32) if arguments.seed is None else arguments.seed
    libraries = find_libraries(root, arguments.on or MODES)
    workloads: list[Workload] = []
    if not arguments.no_workloads:
        workloads = choose_workloads(load_folder(root / "workloads"), arguments.names)
    command = repeat_command(arguments, seed)
    print(f"seed {seed}; {len(workloads)} workloads a round; samples: {samples}", flush=True)
    with tempfile.TemporaryDirectory(prefix="liballoc-soak-") as build:
        program = compile_source(root / SOURCE, Path(build))
        table: dict[str, rows.Row] = {}
        if workloads and not arguments.names and arguments.minutes >= MINUTES_WITH_ROWS:
            sources = (rows.STORM, rows.FOOTPRINT)
            storm, footprint = (compile_source(root / each, Path(build)) for each in sources)
            table = rows.make_rows(storm, footprint, seed)
            workloads += [row.workload for row in table.values()]
        plan = Plan(
            seed, arguments.minutes * 60, program, libraries, workloads,
            program_arguments(arguments),
        )  # fmt: skip
        first = next(iter(libraries.values()))
        with Journal(samples) as journal:
            journal.add(
                {"kind": "run", "liballoc": __version__, "seed": seed, "command": command,
                 "minutes": arguments.minutes, "machine": platform.machine(),
                 "kernel": platform.release(), "libraries": {k: str(v) for k, v in
                                                             libraries.items()}}
            )  # fmt: skip

            def run_one(workload: Workload) -> Result:
                if workload.name in table:
                    return rows.run_row(table[workload.name], workload, first)
                return SmokeRun(workload, first).run()

            if not SoakRun(plan, journal.add, run_workload or run_one).run():
                print("interrupted: this is what was run", flush=True)
    return report(read_journal(samples), folder)


def check_packages() -> None:
    """Whether what reports are made with is there; the other commands do without."""
    try:
        import matplotlib  # noqa: F401, PLC0415
        import scipy  # noqa: F401, PLC0415
    except ImportError as error:
        raise ToolMissingError(f"{error.name} is missing: start this with ./dev soak") from error


def report(entries: Sequence[Mapping[str, Any]], folder: Path) -> int:
    """Print and write the report of a journal."""
    # Here, because the commands are all loaded where only one of them has its packages.
    from liballoc.measure.growth import FAILED, summarise  # noqa: PLC0415
    from liballoc.report import plot, soak  # noqa: PLC0415

    head = next((entry for entry in entries if entry["kind"] == "run"), None)
    if head is None:
        raise UsageError(f"{folder}: the samples do not say what was run")
    summary = summarise(entries)
    soak.show(summary)
    write_json(folder / "report.json", soak.as_json(summary, head))
    plot.plot_soak(entries, folder / "soak.png", f"{head['command']}: {summary.verdict}")
    soak.write_markdown(summary, head["command"], folder / "soak.png", folder / "report.md")
    print(f"repeat with: {head['command']}")
    print(f"report: {folder / 'report.md'}")
    return 1 if summary.verdict == FAILED else 0
