"""Runs a program that may hang: a hang ends as a failure with the stacks of all its threads.

The time given is a guard against hangs, generous for any machine; nothing is measured with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from tests.native import Outcome, clean_environment

SECONDS = 120.0
# FAULTS_GUARD_S is another guard for all of them, for who expects hangs (tests/mutations).
GUARD_S = os.environ.get("FAULTS_GUARD_S")
STACK_SECONDS = 30


def group_of(leader: int) -> Iterator[psutil.Process]:
    """The processes that a program started and did not take out of its session."""
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == leader:
                yield process


def stacks_of(process: psutil.Process) -> str:
    """What every thread waits for, and its stack where there is a gdb."""
    lines = [f"process {process.pid}: {' '.join(process.cmdline())}"]
    for task in sorted(Path(f"/proc/{process.pid}/task").glob("*")):
        facts = []
        for name in ("wchan", "syscall"):
            with contextlib.suppress(OSError):
                facts.append((task / name).read_text().strip())
        lines.append(f"  thread {task.name}: {' | '.join(facts)}")
    gdb = shutil.which("gdb")
    if gdb is not None:
        command = [gdb, "-nx", "-batch", "-p", str(process.pid), "-ex", "thread apply all bt 14"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                command, env=clean_environment(), capture_output=True, text=True,
                errors="replace", check=False, timeout=STACK_SECONDS,
            )  # fmt: skip
            lines += [line for line in done.stdout.splitlines() if line.startswith(("#", "Thr"))]
    return "\n".join(lines)


def describe(leader: int) -> str:
    """The state of everything a hung program consists of."""
    texts = []
    for process in group_of(leader):
        with contextlib.suppress(psutil.Error, OSError):
            texts.append(stacks_of(process))
    return "\n".join(texts)


def run_watched(
    command: Sequence[object],
    *,
    env: Mapping[str, str] | None = None,
    note: str = "",
    cwd: Path | None = None,
    seconds: float = SECONDS,
) -> Outcome:
    """Runs a program to its end. `note` says how to repeat it, for the report of a hang."""
    words = [str(word) for word in command]
    seconds = float(GUARD_S) if GUARD_S else seconds
    with subprocess.Popen(
        words, env={**clean_environment(), **(env or {})}, cwd=cwd, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            stdout, stderr = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            stacks = describe(process.pid)
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            pytest.fail(
                f"{' '.join(words)}: no end after {seconds} s; {note}\n{stacks}\n"
                f"stdout: {stdout[-500:]}\nstderr: {stderr[-1500:]}"
            )
        finally:
            # Children that were left behind; none is the rule.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return Outcome(process.returncode, stdout, stderr)
