"""Golden counts of the hit paths: a slower fast path is a diff in review.

The hit path is what one call executes inside the library when it finds what it needs in its
magazine. It is traced, not guessed: a small program warms the magazines up, makes one call while
it is single-stepped with ptrace, five times over; the sequence seen most often is the path.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from liballoc.elf import disassembly
from liballoc.elf.disassembly import Counts
from liballoc.elf.finding import Finding
from liballoc.elf.image import Image
from liballoc.errors import CheckFailedError, ToolMissingError, UsageError

SOURCE = Path(__file__).with_name("fast_path_trace.c")
TRACE_TIMEOUT_S = 120

# Blocks of 32 bytes without a number, of so many with one: other kinds of magazines, or of classes.
SIZES_LARGER = (1000, 4000, 20000, 100000, 300000, 2000000)

# These must not change unseen; the others are information in the same file.
CHECKED = (
    "malloc", "free", "alloc_pool_alloc", "alloc_pool_free", "alloc_arena_alloc",
    *(f"{name}_{size}" for size in SIZES_LARGER for name in ("malloc", "free")),
)  # fmt: skip

UPDATE = "python -m liballoc elf --update-golden"


def can_trace(image: Image) -> bool:
    """The program is traced natively and reads x86-64 registers."""
    return image.architecture == "x86_64" and platform.machine() == "x86_64"


def trace(image: Image) -> dict[str, list[int]]:
    """The addresses that the hit path of each function executes, in order."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise ToolMissingError("gcc is missing: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(prefix="liballoc-") as folder:
        program = Path(folder) / "trace"
        build = [compiler, "-O1", "-o", str(program), str(SOURCE), "-ldl"]
        _run(build, dict(os.environ))
        size = max(segment.address + segment.size for segment in image.segments)
        output = _run(
            [str(program)],
            {
                "PATH": os.environ.get("PATH", os.defpath),
                "LD_PRELOAD": str(image.path.resolve()),
                "TRACE_LIBRARY_SIZE": str(size),
            },
        )
    return most_frequent(output, image.path)


def _run(argv: list[str], environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            argv,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=TRACE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailedError(f"{Path(argv[0]).name}: no end after {TRACE_TIMEOUT_S} s") from error
    if done.returncode != 0:
        text = done.stderr.strip()[-500:]
        raise CheckFailedError(f"{Path(argv[0]).name}: exit status {done.returncode}: {text}")
    return done.stdout


def most_frequent(output: str, library: Path) -> dict[str, list[int]]:
    """Parse the tracer's lines; for each function the sequence that came up most often."""
    first, *lines = output.splitlines()
    loaded = Path(first.removeprefix("library "))
    if loaded.resolve() != library.resolve():
        raise CheckFailedError(f"malloc came from {loaded}, not from {library}")
    rounds: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        name, number, offset = line.split()
        rounds[name][number].append(int(offset, 16))
    return {
        name: list(Counter(tuple(path) for path in numbered.values()).most_common(1)[0][0])
        for name, numbered in rounds.items()
    }


def measure(image: Image) -> dict[str, Counts]:
    """Counts of every traced hit path."""
    paths = trace(image)
    missing = [name for name in CHECKED if not paths.get(name)]
    if missing:
        raise CheckFailedError(f"no instruction of {', '.join(missing)} was traced in the library")
    return {name: disassembly.count(image, path) for name, path in paths.items()}


def read_golden(path: Path) -> dict[str, dict[str, int]]:
    """The golden counts by function."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; make it with: {UPDATE}") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: no JSON: {error}") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: must be an object")
    return document


def compare(
    measured: Mapping[str, Counts], golden: Mapping[str, Mapping[str, int]]
) -> Iterator[Finding]:
    """One finding a function; the detail is the diff and the command that accepts it."""
    for name in CHECKED:
        expected = golden.get(name, {})
        found = asdict(measured[name])
        changes = [
            f"{key} {expected.get(key, 'none')} -> {value}"
            for key, value in found.items()
            if expected.get(key) != value
        ]
        detail = f"{', '.join(changes)} (accept with: {UPDATE})" if changes else ""
        yield Finding(f"hit path of {name}", detail)


def as_golden(measured: Mapping[str, Counts]) -> dict[str, dict[str, int]]:
    """The document for the golden file."""
    return {name: asdict(counts) for name, counts in sorted(measured.items())}
