"""A copy of the checkout in which mutations are built and their tests run, one after another.

The copy keeps its build cache from one mutation to the next, so a build compiles the library and
nothing else.
"""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liballoc.errors import CheckFailedError
from liballoc.toolchain import variants
from liballoc.toolchain.zig import Zig, build_environment
from tests.mutations.catalogue import Mutation

NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".nox", "zig-out", ".zig-cache", "__pycache__", ".*_cache", "results"
)
BUILD_TIMEOUT_S = 1800
TESTS_TIMEOUT_S = 900
# For one program of the fault tests, and how often it forks: with and without a mutation. A lock
# that is not repaired in a child is met in one of some hundred forks.
FAULTS = {"FAULTS_GUARD_S": "60", "FAULTS_FORKS": "600"}
# pytest's exit statuses.
ALL_PASSED, SOME_FAILED = 0, 1


class State(enum.Enum):
    """What came of a mutation; only RED proves its tests."""

    RED = "red"
    GREEN = "green"
    NOT_BUILT = "not built"
    NO_TEST = "no test"


@dataclass(frozen=True)
class Verdict:
    """The state of a mutation, which row's tests it comes from, and what it cost."""

    mutation: Mutation
    state: State
    detail: str
    build_s: float = 0.0
    tests_s: float = 0.0


@dataclass
class Worker:
    """One copy of a checkout, in `folder`."""

    source: Path
    folder: Path
    zig: Zig
    log: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        """Copies the checkout."""
        shutil.copytree(self.source, self.folder, ignore=NOT_COPIED, symlinks=True)

    def build(self, archive: bool, machine: str) -> bool:
        """Builds the release library, and the archive where a test links it."""
        shutil.rmtree(self.folder / "zig-out", ignore_errors=True)
        prefix = str(variants.prefix(self.folder, machine))
        steps = ["shared", "archive"] if archive else ["shared"]
        if machine != variants.DEFAULT_ARCHITECTURE:
            steps.append(f"-Dtarget={variants.target(machine)}")
        done = subprocess.run(
            [self.zig.executable, "build", "--prefix", prefix, *steps],
            cwd=self.folder, env=build_environment(os.environ), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
        self.log.append(done.stderr[-2000:])
        return done.returncode == 0

    def run_tests(self, files: Sequence[str], words: str) -> int:
        """pytest's exit status for what `words` selects of the files; a hang counts as failed."""
        argv = [
            sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider",
            "-k", words, *files,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": "harness", **FAULTS}
        for name in ("LIBALLOC_SO", "LIBALLOC_A", "LIBALLOC_DEBUG_SO"):
            environment.pop(name, None)
        try:
            done = subprocess.run(
                argv, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, check=False, timeout=TESTS_TIMEOUT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            self.log.append(f"no end after {TESTS_TIMEOUT_S} s")
            return SOME_FAILED
        self.log.append(done.stdout[-2000:] + done.stderr[-500:])
        return done.returncode

    def judge(self, mutation: Mutation) -> Verdict:
        """Applies a mutation, demands that every one of its rows goes red, takes it back."""
        path = self.folder / mutation.file
        original = path.read_text()
        self.log.clear()
        mutation.apply(self.folder)
        try:
            return self._judge_applied(mutation)
        finally:
            path.write_text(original)

    def _judge_applied(self, mutation: Mutation) -> Verdict:
        started = time.monotonic()
        if not self.build(mutation.archive, mutation.machine):
            return Verdict(mutation, State.NOT_BUILT, self.log[-1], time.monotonic() - started)
        built = time.monotonic()
        for row in mutation.rows:
            status = self.run_tests(mutation.tests, expression(mutation, row))
            if status == SOME_FAILED:
                continue
            state = State.GREEN if status == ALL_PASSED else State.NO_TEST
            return Verdict(mutation, state, row, built - started, time.monotonic() - built)
        rows = " ".join(mutation.rows)
        return Verdict(mutation, State.RED, rows, built - started, time.monotonic() - built)

    def check_green(self, mutations: list[Mutation]) -> None:
        """Demands that the same tests pass without a mutation: else red would prove nothing.

        With the same files built: a test that fails for want of the archive would be red too.
        """
        for archive, machine in sorted({(each.archive, each.machine) for each in mutations}):
            if not self.build(archive, machine):
                raise CheckFailedError(f"the unchanged library is not built: {self.log[-1]}")
            runs: dict[tuple[str, ...], set[str]] = {}
            for each in mutations:
                if (each.archive, each.machine) == (archive, machine):
                    runs.setdefault(each.tests, set()).update(
                        f"({expression(each, row)})" for row in each.rows
                    )
            for files, words in runs.items():
                status = self.run_tests(files, " or ".join(sorted(words)))
                if status != ALL_PASSED:
                    raise CheckFailedError(
                        f"{' '.join(files)} is not green without a mutation "
                        f"(pytest status {status}):\n{self.log[-1]}"
                    )


def expression(mutation: Mutation, row: str) -> str:
    """What -k selects: a row's tests on what was built, never those that run on glibc alone."""
    parts = [f"({row})", "not debug", "not on_glibc"]
    if mutation.select:
        parts.insert(1, f"({mutation.select})")
    if not mutation.archive:
        parts += ["not archive", "not static]"]
    return " and ".join(parts)
