"""Measure the hot paths of liballoc beside glibc and the peers that are installed.

Runs the small benchmark (zig-out/bin/hotpath) once per sample in a fresh process, all allocators
and cases of a round in random order, and prints medians with the ratio to glibc. Costs are cycles
by the hardware counter where every sample has them, else nanoseconds; `resident` is in KiB.
Peers beside those of Debian are given as NAME=PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from liballoc.errors import CheckFailedError, ToolMissingError, UsageError
from liballoc.report.table import print_table
from liballoc.results.store import check_target, write_json
from liballoc.toolchain.driver import find_root
from liballoc.toolchain.variants import DEFAULT_ARCHITECTURE, Variant

NAME = "hotpath"

BASELINE = "glibc"
CASES = (
    "pair 32",
    "pair 1000",
    "pair 100000",
    "batch 64 1000",
    "batch 64 100000",
    "replace 30000",
    "replace 400000",
    "remote",
    "floor",
)
# Cases whose memory says something: one malloc, and many live blocks.
RESIDENT_CASES = ("floor", "replace")
PEERS = {
    "jemalloc": ("libjemalloc.so.2", "libjemalloc2"),
    "mimalloc": ("libmimalloc.so.2*", "libmimalloc2.0"),
    "tcmalloc": ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
}
LIBRARY_FOLDERS = (Path("/usr/lib"), Path("/usr/lib64"), Path("/usr/local/lib"))
SAMPLE_SECONDS_MAX = 300


@dataclass(frozen=True)
class Sample:
    """What one process printed. Costs are per operation, null where there was no counter."""

    allocator: str
    case: str
    round: int
    ops: int
    cycles_per_op: float | None
    instructions_per_op: float | None
    ns_per_op: float | None
    rss_kib: int | None


@dataclass(frozen=True)
class Summary:
    """Median and range of one value over the rounds."""

    median: float
    low: float
    high: float

    @property
    def spread_pct(self) -> float:
        """Half of the range, as a part of the median."""
        return 50 * (self.high - self.low) / self.median if self.median else 0.0


Runner = Callable[[Sequence[str], Mapping[str, str]], str]


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Flags of `liballoc hotpath`."""
    parser.add_argument("peers", nargs="*", metavar="NAME=PATH", help="further .so to preload")
    parser.add_argument("--case", action="append", help="a case of the benchmark; repeatable")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each (5)")
    parser.add_argument("--seed", type=int, default=1, help="of the order within a round (1)")
    parser.add_argument(
        "--library", dest="preload", type=Path, help="the .so (zig-out/lib/liballoc.so)"
    )
    parser.add_argument("--binary", type=Path, help="the benchmark (zig-out/bin/hotpath)")
    parser.add_argument("--only", action="store_true", help="none of Debian's peers")
    parser.add_argument("--json", type=Path, help="where all samples go")


def parse_peers(texts: Sequence[str]) -> dict[str, Path]:
    """The NAME=PATH arguments."""
    peers: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise UsageError(f"{text!r} is not NAME=PATH")
        if name in peers or name in {BASELINE, "liballoc"}:
            raise UsageError(f"the name {name!r} is taken")
        peers[name] = Path(path)
    return peers


def find_debian_peers(folders: Sequence[Path] = LIBRARY_FOLDERS) -> dict[str, Path]:
    """The peers that are installed; what is not is named on stdout."""
    found: dict[str, Path] = {}
    for name, (pattern, package) in PEERS.items():
        places = (
            folder / middle for folder in folders for middle in (".", f"{machine()}-linux-gnu")
        )
        files = sorted(file for place in places for file in place.glob(pattern))
        if files:
            found[name] = files[0].resolve()
        else:
            print(f"{name} is not installed (Debian package {package})")
    return found


def machine() -> str:
    """The architecture as Debian's library folders spell it."""
    return platform.machine()


def choose_allocators(arguments: argparse.Namespace) -> dict[str, Path | None]:
    """Name -> what to preload; the baseline preloads nothing."""
    library = arguments.preload
    if library is None:
        library = Variant("release", DEFAULT_ARCHITECTURE).shared(find_root(Path.cwd()))
    peers = parse_peers(arguments.peers)
    debian = {} if arguments.only else find_debian_peers()
    chosen: dict[str, Path | None] = {BASELINE: None, "liballoc": library, **debian, **peers}
    for name, path in chosen.items():
        if path is not None and not path.is_file():
            raise UsageError(f"{name}: {path}: no such library")
    return chosen


def run_process(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Runs one sample; whatever it writes on stderr makes it worthless."""
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True,
            timeout=SAMPLE_SECONDS_MAX, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise CheckFailedError(f"{' '.join(command)}: no end after {error.timeout} s") from error
    if done.returncode == 2:
        raise UsageError(done.stderr.partition("\n")[0])
    if done.returncode != 0 or done.stderr:
        reason = done.stderr.partition("\n")[0] or f"exit status {done.returncode}"
        preload = environment.get("LD_PRELOAD", "")
        raise CheckFailedError(f"{' '.join(command)} on {preload or BASELINE}: {reason}")
    return done.stdout


def take_sample(
    command: Sequence[str], name: str, library: Path | None, number: int, runner: Runner
) -> Sample:
    """One fresh process."""
    kept = ("LD_PRELOAD", "ALLOC_CONF", "MALLOC_", "GLIBC_TUNABLES")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(kept)}
    if library is not None:
        environment["LD_PRELOAD"] = str(library.resolve())
    values = json.loads(runner(command, environment))
    return Sample(allocator=name, round=number, **values)


def measure(
    binary: Path,
    allocators: Mapping[str, Path | None],
    cases: Sequence[str],
    rounds: int,
    *,
    seed: int,
    runner: Runner = run_process,
) -> list[Sample]:
    """All samples. The first process to touch fresh memory pays for it: hence the random order."""
    order = random.Random(seed)
    samples = []
    for number in range(rounds):
        pairs = [(name, case) for name in allocators for case in cases]
        order.shuffle(pairs)
        for name, case in pairs:
            command = [str(binary), *case.split()]
            samples.append(take_sample(command, name, allocators[name], number, runner))
    return samples


def choose_metric(samples: Sequence[Sample]) -> str:
    """Cycles if every sample that measures time has them."""
    timed = [sample for sample in samples if sample.ns_per_op is not None]
    has_cycles = all(sample.cycles_per_op is not None for sample in timed)
    return "cycles_per_op" if has_cycles else "ns_per_op"


def summarise(samples: Sequence[Sample], allocator: str, case: str, metric: str) -> Summary | None:
    """One cell; none where this case has no such value."""
    cell = [s for s in samples if s.allocator == allocator and s.case == case]
    values = [float(value) for s in cell if (value := getattr(s, metric)) is not None]
    if not values:
        return None
    return Summary(statistics.median(values), min(values), max(values))


def format_cell(value: Summary | None, baseline: Summary | None) -> str:
    """`22.1 ±1% x0.62`: the median, its spread, the ratio to glibc."""
    if value is None:
        return "-"
    digits = 0 if value.median >= 1000 else 1 if value.median >= 10 else 2
    text = f"{value.median:.{digits}f} ±{value.spread_pct:.0f}%"
    if baseline is None or not baseline.median:
        return text
    return f"{text} x{value.median / baseline.median:.2f}"


def table_rows(
    samples: Sequence[Sample], allocators: Sequence[str], cases: Sequence[str]
) -> list[list[str]]:
    """A row a case and value: the cost of an operation, and the memory where it says something."""
    metric = choose_metric(samples)
    rows = []
    for case in cases:
        for name, unit in ((metric, metric.removesuffix("_per_op")), ("rss_kib", "resident")):
            if name == "rss_kib" and not case.startswith(RESIDENT_CASES):
                continue
            cells = [summarise(samples, allocator, case, name) for allocator in allocators]
            if any(cells):
                rows.append([case, unit, *(format_cell(cell, cells[0]) for cell in cells)])
    return rows


def write_samples(path: Path, arguments: argparse.Namespace, samples: Sequence[Sample],
                  allocators: Mapping[str, Path | None]) -> None:  # fmt: skip
    """Everything, so that a reader can summarise it anew."""
    value = {
        "seed": arguments.seed,
        "rounds": arguments.rounds,
        "metric": choose_metric(samples),
        "machine": {"kernel": platform.release(), "cpu": cpu_name(), "cpus": os.cpu_count()},
        "allocators": {name: str(library or "") for name, library in allocators.items()},
        "samples": [asdict(sample) for sample in samples],
    }
    write_json(path, value)


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model name; the architecture where there is none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else machine()


def run(arguments: argparse.Namespace, runner: Runner = run_process) -> int:
    """Measure, print the table, write the JSON."""
    if arguments.rounds < 1:
        raise UsageError(f"--rounds {arguments.rounds}: at least 1")
    binary = arguments.binary or find_root(Path.cwd()) / "zig-out" / "bin" / "hotpath"
    if not binary.is_file():
        raise ToolMissingError(f"{binary}: no such program; build it with ./dev build")
    if arguments.json is not None:
        check_target(arguments.json)
    allocators = choose_allocators(arguments)
    cases = [" ".join(case.split()) for case in arguments.case or CASES]
    samples = measure(
        binary, allocators, cases, arguments.rounds, seed=arguments.seed, runner=runner
    )
    columns = ["case", "value", *allocators]
    title = f"median of {arguments.rounds}, half range, ratio to {BASELINE}"
    rows = table_rows(samples, list(allocators), cases)
    print_table(title, columns, rows, right=list(allocators))
    if choose_metric(samples) != "cycles_per_op":
        print("This machine gives no hardware counters: costs are nanoseconds of wall time.")
    if arguments.json is not None:
        write_samples(arguments.json, arguments, samples, allocators)
    return 0
