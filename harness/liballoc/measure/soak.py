"""The soak run: the soak program on each library beside rounds of workloads, watched throughout.

The main thread runs the workloads, so that an interrupt ends them through their own cleaning up; a
second thread looks at every process each few seconds and passes on what the programs print.
Entries go out as they are made; nothing is kept here that the end would have to save.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from liballoc.measure.process import Look, look_at
from liballoc.units import signal_name
from liballoc.workload.schema import Workload
from liballoc.workload.smoke import FAIL, Result, base_environment

# A program that says nothing for so long hangs; a cycle takes about a second.
STALL_S = 300.0
# A workload that would be started later than this before the end is not.
WORKLOAD_MIN_S = 5.0
# How long programs get to end when an interrupt asks them to.
PATIENCE_S = 5.0

Record = Callable[[Mapping[str, Any]], None]
RunWorkload = Callable[[Workload], Result]


@dataclass(frozen=True)
class Plan:
    """What is to be run."""

    seed: int
    seconds: float
    program: Path
    libraries: Mapping[str, Path]
    """The libraries under which the soak program runs, by the name it gets."""
    workloads: Sequence[Workload]
    arguments: tuple[str, ...] = ()
    """More arguments of the soak program."""
    interval: float = 2.0
    stall: float = STALL_S


class SoakProgram:
    """The soak program on one library: its process, and the lines it has printed."""

    def __init__(self, name: str, library: Path, plan: Plan, folder: Path) -> None:
        self.name = name
        self.preload = library
        self._stdout = folder / f"{name}.stdout"
        self._stderr = folder / f"{name}.stderr"
        self._read = 0
        self._reported = False
        self.heard = time.monotonic()
        seconds = max(1, round(plan.seconds))
        command = [str(plan.program), str(plan.seed), str(seconds), *plan.arguments]
        environment = {**base_environment(os.environ, folder), "LD_PRELOAD": str(library)}
        with self._stdout.open("wb") as out, self._stderr.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment,
                cwd=folder, start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Of the program itself."""
        return self._process.pid

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """What it has printed since the last call, whole lines only."""
        with self._stdout.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self.heard = time.monotonic()
            yield json.loads(line)

    def failure(self) -> str:
        """How it ended, if that was not well; told once."""
        status = self._process.poll()
        if status is None or self._reported:
            return ""
        self._reported = True
        words = self._stderr.read_text(errors="replace").strip()[-500:]
        if status < 0:
            return f"{self.name}: killed by {signal_name(-status)}: {words}"
        if status != 0:
            return f"{self.name}: exit status {status}: {words}"
        # The library speaks up when something is wrong, even where it goes on.
        return f"{self.name}: said {words}" if words else ""

    def end(self, patience: float) -> None:
        """Ask it and its children to end, then make them."""
        self._reported = True
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)


class SoakRun:
    """One run of a plan; `run_workload` is SmokeRun, or a fake."""

    def __init__(self, plan: Plan, record: Record, run_workload: RunWorkload) -> None:
        self._plan = plan
        self._record = record
        self._run_workload = run_workload
        self._random = random.Random(plan.seed)
        self._stop = threading.Event()
        self._programs: list[SoakProgram] = []
        self._start = 0.0
        self._doing = ""

    def run(self) -> bool:
        """Run until the time is over, a program fails or the user interrupts; False for that."""
        self._start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="liballoc-soak-") as folder:
            watcher = threading.Thread(target=self._watch, name="watcher")
            try:
                for name, library in self._plan.libraries.items():
                    self._programs.append(SoakProgram(name, library, self._plan, Path(folder)))
                watcher.start()
                self._rounds()
                while watcher.is_alive():
                    watcher.join(0.5)
            except KeyboardInterrupt:
                return False
            finally:
                self._stop.set()
                if watcher.is_alive():
                    watcher.join()
                for program in self._programs:
                    if program.running():
                        program.end(PATIENCE_S)
        return True

    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def _rest(self) -> float:
        return self._plan.seconds - self._elapsed()

    def _rounds(self) -> None:
        while self._plan.workloads and self._rest() > WORKLOAD_MIN_S and not self._stop.is_set():
            order = list(self._plan.workloads)
            self._random.shuffle(order)
            for workload in order:
                if self._rest() < WORKLOAD_MIN_S or self._stop.is_set():
                    break
                self._one(workload)

    def _one(self, workload: Workload) -> None:
        """Run a workload, with no more time than is left; what that cuts off is no failure."""
        limit = min(workload.seconds, self._rest())
        self._doing = workload.name
        result = self._run_workload(replace(workload, seconds=limit))
        self._doing = ""
        cut = result.state == FAIL and limit < workload.seconds and self._rest() <= 0
        self._record(
            {
                "kind": "workload",
                "time": self._elapsed(),
                "name": workload.name,
                "state": "cut" if cut else result.state,
                "seconds": result.seconds_with,
                "peak_kib": result.peak_kib_with,
                "reasons": result.reasons,
            }
        )

    def _watch(self) -> None:
        """Look at everything each interval until the programs have ended."""
        try:
            while any(program.running() for program in self._programs):
                self._look()
                if self._stop.wait(self._plan.interval):
                    break
            self._look()
        except BaseException as error:
            self._fail(f"the watcher ended: {error!r}")
            raise
        finally:
            # Without programs there is nothing to watch: the rounds may go on to their end.
            if self._programs:
                self._stop.set()

    def _look(self) -> None:
        for program in self._programs:
            for line in program.new_lines():
                self._record({"kind": "phase", "program": program.name, **line})
            if program.running():
                self._sample(program.name, look_at(program.pid, program.preload))
                if time.monotonic() - program.heard > self._plan.stall:
                    self._fail(f"{program.name}: no progress for {self._plan.stall:g} s")
                    program.end(PATIENCE_S)
            reason = program.failure()
            if reason:
                self._fail(reason)
        self._look_at_workload()

    def _look_at_workload(self) -> None:
        doing = self._doing
        if not doing:
            return
        own = {program.pid for program in self._programs}
        libraries = list(self._plan.libraries.values())
        for child in psutil.Process().children(recursive=True):
            if child.pid in own or os_session(child.pid) in own:
                continue
            look = look_at(child.pid, libraries[0])
            if look is not None and look.has_library:
                self._sample(f"{doing}: {look.name}", look)

    def _sample(self, process: str, look: Look | None) -> None:
        if look is None:
            return
        self._record(
            {
                "kind": "sample",
                "time": self._elapsed(),
                "process": process,
                "pid": look.pid,
                "rss": look.rss,
                "mappings": look.mappings,
                "threads": look.threads,
            }
        )

    def _fail(self, reason: str) -> None:
        self._record({"kind": "failure", "time": self._elapsed(), "reason": reason})
        self._stop.set()


def os_session(pid: int) -> int:
    """The session of a process: a soak program leads one, its children are in it. 0: gone."""
    try:
        return os.getsid(pid)
    except OSError:
        return 0
