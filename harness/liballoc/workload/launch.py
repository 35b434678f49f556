"""Starts one command under the supervisor and collects what it did.

`Executor` is what the rest of the harness sees; unit tests put a fake in its place.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import psutil

SUPERVISOR = Path(__file__).with_name("supervise.py")


@dataclass(frozen=True)
class Step:
    """One command, ready to be started."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    stdin: str = ""
    measured: bool = False
    """Whether this is the program that a measurement is about, not one that prepares or loads."""
    count: bool = False
    """Count instructions, where the machine allows it."""
    inspect: bool = False
    """Look at the program in the moment of its end; no run that is timed does."""
    keep_output: bool = True


@dataclass(frozen=True)
class Inspection:
    """What a program looked like when it ended."""

    exe: str = ""
    mapped: tuple[str, ...] = ()
    peak_kib: int = 0


@dataclass(frozen=True)
class Usage:
    """What a command and all its processes used; None: the machine does not count it."""

    cpu_s: float = 0.0
    minor_faults: int = 0
    major_faults: int = 0
    instructions: int | None = None
    floor_kib: int = 0
    """What the process that became the program had then; its `peak_kib` cannot be less."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended; status is negative for a signal, as in subprocess."""

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    peak_kib: int
    timed_out: bool = False
    usage: Usage = Usage()
    inspection: Inspection | None = None
    not_started: str = ""
    """Why the program could not be started."""


USAGE_KEYS = tuple(field.name for field in fields(Usage))


class Running(Protocol):
    """A command that has been started."""

    @property
    def supervisor(self) -> int:
        """The id of the process above it; 0 where there is none."""
        ...

    def pids(self) -> list[int]:
        """The processes of it that live now."""
        ...

    def ended(self) -> bool:
        """Whether all its processes have ended."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal to its first process."""
        ...

    def wait(self, seconds: float) -> Outcome:
        """Wait for the end of all its processes; after `seconds` they are killed."""
        ...


class Executor(Protocol):
    """Starts commands."""

    def start(self, step: Step) -> Running:
        """Start and return at once."""
        ...


class SupervisedRun:
    """A command under supervise.py."""

    def __init__(self, step: Step, folder: Path) -> None:
        self._folder = folder
        stdin = folder / "stdin"
        stdin.write_text(step.stdin)
        plan = {
            "argv": list(step.argv),
            "environment": dict(step.environment),
            "cwd": str(step.cwd),
            "report": str(folder / "report"),
            "stdin": str(stdin) if step.stdin else "/dev/null",
            "stdout": str(folder / "stdout") if step.keep_output else "/dev/null",
            "stderr": str(folder / "stderr"),
            "count": step.count,
            "inspect": step.inspect,
        }
        (folder / "plan").write_text(json.dumps(plan))
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), str(folder / "plan")],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def supervisor(self) -> int:
        """The process that waits for the program; all processes of it are below."""
        return self._process.pid

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self._process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def pids(self) -> list[int]:
        """The processes that live now, the supervisor left out."""
        return [process.pid for process in self._descendants()]

    def ended(self) -> bool:
        """Whether the supervisor has ended, which it does last."""
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal to the supervised program itself."""
        for child in psutil.Process(self._process.pid).children():
            child.send_signal(number)

    def wait(self, seconds: float) -> Outcome:
        """Wait; past the limit kill everything, again and again until nothing is left."""
        timed_out = False
        try:
            self._process.wait(max(seconds, 0.001))
        except subprocess.TimeoutExpired:
            timed_out = True
            self._kill_all()
        except BaseException:
            self._kill_all()
            raise
        return self._outcome(timed_out)

    def _kill_all(self) -> None:
        while self._process.poll() is None:
            for process in self._descendants():
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            try:
                self._process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue

    def _outcome(self, timed_out: bool) -> Outcome:
        try:
            report = json.loads((self._folder / "report").read_text())
        except OSError:
            # Only a supervisor that died itself leaves none.
            report = {"status": 126, "seconds": 0.0, "peak_kib": 0}
        return Outcome(
            status=report["status"],
            stdout=_read(self._folder / "stdout"),
            stderr=_read(self._folder / "stderr"),
            seconds=report["seconds"],
            peak_kib=report["peak_kib"],
            timed_out=timed_out,
            usage=Usage(**{key: report[key] for key in USAGE_KEYS if key in report}),
            inspection=_inspection(report.get("inspected")),
            not_started=report.get("not_started", ""),
        )


class SupervisedExecutor:
    """Starts commands for real; plans and outputs are kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def start(self, step: Step) -> SupervisedRun:
        """Start a command in a folder of its own for plan and outputs."""
        self._count += 1
        folder = self._folder / f"step-{self._count}"
        folder.mkdir(parents=True)
        return SupervisedRun(step, folder)


def _inspection(found: Mapping[str, Any] | None) -> Inspection | None:
    if found is None:
        return None
    mapped = tuple(found.get("mapped", ()))
    return Inspection(found.get("exe", ""), mapped, found.get("peak_kib", 0))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
