"""Refusing system calls to a program on the release library, and judging what became of it.

`refuse.c` is the supervisor: a seccomp filter, since the library's raw calls pass every libc shim.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults.watchdog import run_watched
from tests.native import SKIPPED, Native, Outcome

LAUNCHER = Path(__file__).resolve().parent / "src" / "refuse.c"
LONG = os.environ.get("FAULTS_LONG", "") not in {"", "0"}
# The short form tries each of the first calls, where everything is set up, then every so many.
DENSE = 8
STRIDE = 31
# The last is what libstdc++ says when it has memory neither for the exception nor for its own
# reserve of it, which it takes at the start: cc1 under any malloc whose first call fails.
OWN_WORDS = re.compile(
    r"memory|alloc|MemoryError|exhausted|terminate called without an active exception",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Refusal:
    """Which call the kernel seems to refuse, and how."""

    call: str
    error: str
    nth: int = 0
    """Counted from 1; 0 refuses none."""
    onwards: bool = False
    """All calls from that one on."""
    everybody: bool = False
    """Calls of libc and of the loader count too, not the library's alone."""
    reservations: int = 0
    """Only mappings without access of at least so many bytes."""

    def options(self) -> list[str]:
        """The launcher's options."""
        options = [f"--call={self.call}", f"--errno={self.error}", f"--nth={self.nth}"]
        options += ["--onwards"] if self.onwards else []
        options += ["--everybody"] if self.everybody else []
        return [*options, f"--reservations={self.reservations}"]

    def __str__(self) -> str:
        return " ".join(self.options())


@dataclass(frozen=True)
class Supervised:
    """How a program ended, how many calls were counted, how many refused."""

    refusal: Refusal
    outcome: Outcome
    calls: int
    refused: int

    @property
    def ending(self) -> str:
        """For assertions that a person reads."""
        return f"{self.refusal} ({self.refused} of {self.calls}): {self.outcome.ending}"


@dataclass(frozen=True)
class Supervisor:
    """The launcher, for one library."""

    launcher: Path
    file: Path

    @classmethod
    def build(cls, native: Native, library: Path) -> Supervisor:
        """Compiles the launcher."""
        return cls(native.build(LAUNCHER), library)

    def run(
        self, refusal: Refusal, command: Sequence[object], cwd: Path | None = None,
        conf: str = "", preload: bool = True,
    ) -> Supervised:  # fmt: skip
        """Runs a program with one refusal; `preload` false leaves the library out."""
        with tempfile.TemporaryDirectory(dir=self.launcher.parent) as folder:
            report = Path(folder) / "report"
            options = [*refusal.options(), f"--report={report}"]
            options += [f"--library={self.file}"] if preload else []
            env = {"ALLOC_CONF": conf} if conf else {}
            outcome = run_watched([self.launcher, *options, "--", *command], env=env, cwd=cwd)
            if outcome.status == SKIPPED:
                pytest.skip(outcome.stderr.strip())
            assert report.exists(), outcome.ending
            counts = re.fullmatch(r"calls=(\d+) refused=(\d+)\n", report.read_text())
        assert counts is not None
        return Supervised(refusal, outcome, int(counts[1]), int(counts[2]))


def numbers(long: bool) -> Iterator[int]:
    """Which call to refuse, without end: each, or in the short form some."""
    yield from range(1, DENSE + 1)
    yield from itertools.count(DENSE + 1, 1 if long else STRIDE)


def sweep(
    run: Callable[[Refusal], Supervised], refusal: Refusal, judge: Callable[[Supervised], None],
    long: bool = LONG,
) -> int:  # fmt: skip
    """Refuses the n-th call for every n until a run makes no such call; how many were refused."""
    width = os.cpu_count() or 1
    refusals = 0
    left = numbers(long)
    with ThreadPoolExecutor(width) as pool:
        while True:
            batch = [replace(refusal, nth=n) for n in itertools.islice(left, width)]
            done = list(pool.map(run, batch))
            for each in done:
                judge(each)
            refusals += sum(each.refused > 0 for each in done)
            if any(each.refused == 0 for each in done):
                return refusals


def judge_clear(each: Supervised, expected: str) -> None:
    """Right output and status 0, or the program's own words and another status; never a crash."""
    outcome = each.outcome
    assert "liballoc:" not in outcome.stderr, each.ending
    if outcome.status == 0:
        assert outcome.stdout == expected, each.ending
        return
    # SIGABRT is how C++ and CPython end when they cannot even report.
    assert outcome.status > 0 or outcome.status == -signal.SIGABRT, each.ending
    assert OWN_WORDS.search(outcome.stderr), each.ending
    assert each.refused > 0, each.ending
