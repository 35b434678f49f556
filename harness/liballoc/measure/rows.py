"""The long forms of two rows of the compatibility table, run again and again in a soak run.

C23: a storm of forks. C67: 100 MiB live, replaced many times in a control group that holds 1.2
times as much; where no group can be made, the program's own peak is compared with that limit. The
programs are those of the tests.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from liballoc.units import KIB, MIB
from liballoc.workload.launch import Outcome, Step, SupervisedExecutor
from liballoc.workload.schema import Workload
from liballoc.workload.smoke import FAIL, OK, Result, base_environment

TESTS = Path("tests")
HEADERS = TESTS / "abi" / "src"
STORM = TESTS / "faults" / "src" / "fork_storm.c"
FOOTPRINT = TESTS / "compat" / "src" / "footprint.c"

STORM_FORKS = 1000
# 100 MiB of blocks and their table of 16 bytes a block.
LIVE_BYTES = 104 * MIB
LIMIT_BYTES = LIVE_BYTES * 12 // 10
GROUP_PARENTS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
GROUP_LIMITS = ("memory.max", "memory.limit_in_bytes")


@dataclass(frozen=True)
class Row:
    """A row's program as a workload, and what its output must be."""

    workload: Workload
    judge: Callable[[str], str]
    limit: int = 0
    """Bytes of the control group it runs in; 0: none."""


def make_rows(storm: Path, footprint: Path, seed: int) -> dict[str, Row]:
    """Both rows, by the name of their workload."""
    rows = [
        Row(
            _workload("C23-storm", str(storm), "C23_storm", str(seed), "4", "2", str(STORM_FORKS)),
            lambda text: "" if text == f"forks {STORM_FORKS}\n" else f"printed {text!r}",
        ),
        Row(
            _workload("C67-churn", str(footprint), "churns_live", "100", "4000", "8192"),
            _judge_footprint,
            LIMIT_BYTES,
        ),
    ]
    return {row.workload.name: row for row in rows}


def _workload(name: str, *argv: str) -> Workload:
    return Workload(
        name=name, why="a row of the compatibility table", argv=argv, seconds=600, packages=(),
        processes=(),
    )  # fmt: skip


def _judge_footprint(text: str) -> str:
    if not text.strip().isdigit():
        return f"printed {text!r}"
    held = int(text) * KIB
    return "" if held <= LIMIT_BYTES else f"{held} bytes resident, over 1.2 of what is live"


@contextlib.contextmanager
def control_group(limit: int) -> Iterator[Path | None]:
    """A new control group with a memory limit; None where there can be none."""
    for parent in GROUP_PARENTS:
        folder = parent / f"liballoc-soak-{os.getpid()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            files = [folder / name for name in GROUP_LIMITS if (folder / name).exists()]
            if files:
                files[0].write_text(str(limit))
                yield folder
                return
        finally:
            folder.rmdir()
    yield None


def run_row(row: Row, workload: Workload, library: Path) -> Result:
    """Run a row's program on the library; `workload` has the time it may take."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liballoc-row-")))
        argv = list(workload.argv)
        group = stack.enter_context(control_group(row.limit)) if row.limit else None
        if group is not None:
            members = shlex.quote(str(group / "cgroup.procs"))
            argv = ["/bin/sh", "-c", f"echo $$ >{members} && exec {shlex.join(argv)}"]
        environment = {**base_environment(os.environ, folder), "LD_PRELOAD": str(library)}
        step = Step(argv, environment, folder)
        outcome = SupervisedExecutor(folder / "steps").start(step).wait(workload.seconds)
    reasons = _reasons(row, outcome)
    return Result(
        workload.name, FAIL if reasons else OK, workload.why, reasons,
        seconds_with=outcome.seconds, peak_kib_with=outcome.peak_kib,
    )  # fmt: skip


def _reasons(row: Row, outcome: Outcome) -> list[str]:
    errors = outcome.stderr.decode("utf-8", "replace").strip()[-300:]
    if outcome.timed_out:
        return [f"no end in time: {errors}"]
    if outcome.status != 0:
        return [f"exit status {outcome.status}: {errors}"]
    wrong = row.judge(outcome.stdout.decode("utf-8", "replace"))
    return [wrong] if wrong else []
