"""`nox -s fuzz`: runs all fuzz targets for some minutes, split evenly between them.

Exit status: 0 no input failed, 1 one failed (its path is printed), 2 usage, 3 a tool is missing.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from liballoc.errors import LiballocError, ToolMissingError
from liballoc.report.table import print_table
from tests.fuzz.target import ZIG_TARGETS, Abi, Result, Zig
from tests.native import ROOT, Native, Subject

LIBRARIES = {"release": "liballoc.so", "debug": "liballoc-debug.so"}


def minutes(text: str) -> float:
    """Minutes, more than none."""
    value = float(text)
    if not 0 < value <= 100_000:
        raise ValueError(text)
    return value


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(prog="nox -s fuzz --", description=__doc__)
    made.add_argument("--minutes", type=minutes, default=1.0, metavar="N", help="for all together")
    made.add_argument("--seed", type=int, metavar="N", help="of the first script (default: random)")
    made.add_argument("--target", metavar="WORD", default="", help="targets whose name has WORD")
    return made


def progress(target: str, inputs: int, seconds: float) -> None:
    """One line that is written over where there is a terminal; else see `finished`."""
    if sys.stdout.isatty():
        print(f"\r\033[K{target}: {inputs} inputs, {seconds:.0f} s", end="", flush=True)


def finished(result: Result) -> Result:
    """A line for each target where no line can be written over."""
    if not sys.stdout.isatty():
        print(f"{result.target}: {result.inputs} inputs, {result.seconds:.0f} s", flush=True)
    return result


def check_tools() -> None:
    """What the targets need, said before the first runs."""
    if shutil.which("gcc") is None:
        raise ToolMissingError("gcc is missing: install it")
    for file in LIBRARIES.values():
        if not (ROOT / "zig-out" / "lib" / file).is_file():
            raise ToolMissingError(f"zig-out/lib/{file} is missing: build it with nox -s build")


def random_seed() -> int:
    """Another one each time; it is printed."""
    return random.SystemRandom().randrange(1 << 40)


def report(results: Sequence[Result]) -> None:
    """The table, then what failed."""
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    rows = [
        [result.target, str(result.inputs), f"{result.seconds:.0f}",
         "FAIL" if result.failed else "ok"]
        for result in results
    ]  # fmt: skip
    columns = ["target", "inputs", "seconds", "result"]
    print_table("fuzz", columns, rows, right=["inputs", "seconds"])
    for result in results:
        if result.saved is not None:
            print(f"{result.target}: {result.why}\nsaved: {result.saved}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the targets; the exit status."""
    arguments = parser().parse_args(argv)
    seed = random_seed() if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="liballoc-fuzz-") as folder:
        native = Native(Path(folder))
        targets: list[Abi | Zig] = [
            Abi(native, Subject(name, ROOT / "zig-out" / "lib" / file), seed)
            for name, file in LIBRARIES.items()
        ]
        targets += ZIG_TARGETS
        targets = [target for target in targets if arguments.target in target.name]
        if not targets:
            parser().error(f"no target has {arguments.target!r} in its name")
        print(f"seed {seed}; repeat with --seed {seed}", flush=True)
        share = arguments.minutes * 60 / len(targets)
        try:
            check_tools()
            results = [finished(target.run(share, progress)) for target in targets]
        except LiballocError as error:
            print(f"fuzz: {error}", file=sys.stderr)
            return error.exit_status
    report(results)
    return 1 if any(result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
