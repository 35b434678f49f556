"""What is measured: a command, or a workload file with its working folder and perhaps a server.

A subject runs once under one allocator and says what that cost; it knows nothing of rounds.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from liballoc.allocators import preload
from liballoc.allocators.registry import Allocator
from liballoc.elf import program
from liballoc.errors import CheckFailedError
from liballoc.measure.memory import Sampler, Series, steady
from liballoc.measure.record import FAILED, OK, PROBE_ROUND, Item, Run
from liballoc.units import KIB, signal_name
from liballoc.workload import smoke
from liballoc.workload.launch import Executor, Outcome, Running, Step, SupervisedExecutor
from liballoc.workload.proof import Gate
from liballoc.workload.schema import Workload
from liballoc.workload.venv import Venvs

# A peak so near to that of the process that became the program says nothing of the program.
FLOOR_SLACK_KIB = 2048

MakeExecutor = Callable[[Path], Executor]


@dataclass(frozen=True)
class Parsed:
    """What a program that measures itself has printed."""

    values: Mapping[str, float] = field(default_factory=dict)
    latencies: Mapping[str, float] = field(default_factory=dict)
    digest: str = ""
    phases: Sequence[tuple[str, float, float]] = ()
    for_process: bool = False
    """These figures stand for those of the process, which is mostly the program's own harness."""


class Watch(Protocol):
    """What looks at memory while a program runs."""

    def stop(self) -> Series:
        """Stop looking; what was seen."""
        ...


MakeWatch = Callable[[int], Watch]


class Subject(Protocol):
    """One item with the means to run it."""

    item: Item

    def missing(self) -> str:
        """Why it cannot be run on this machine; "" where it can."""
        ...

    def run(self, allocator: Allocator, number: int) -> Run:
        """Run once; what goes wrong is in the result, never an exception."""
        ...


class WatchedRunning:
    """The measured program of a run, its memory looked at until it has ended."""

    def __init__(self, inner: Running, make_watch: MakeWatch) -> None:
        self._inner = inner
        self._watch = make_watch(inner.supervisor)
        self.series: Series = []
        self.outcome: Outcome | None = None
        self.supervisor = inner.supervisor

    def pids(self) -> list[int]:
        """Its processes."""
        return self._inner.pids()

    def ended(self) -> bool:
        """Whether all have ended."""
        return self._inner.ended()

    def signal(self, number: int) -> None:
        """To its first process."""
        self._inner.signal(number)

    def wait(self, seconds: float) -> Outcome:
        """Until the end."""
        try:
            self.outcome = self._inner.wait(seconds)
        finally:
            self.series = self._watch.stop()
        return self.outcome


class MeasuringExecutor:
    """Starts commands; the one that is to be measured is counted and watched, or inspected."""

    def __init__(self, inner: Executor, make_watch: MakeWatch, *, probe: bool) -> None:
        self._inner = inner
        self._make_watch = make_watch
        self._probe = probe
        self.main: WatchedRunning | None = None

    def start(self, step: Step) -> Running:
        """Start a command."""
        if not step.measured:
            return self._inner.start(step)
        step = replace(step, count=not self._probe, inspect=self._probe)
        self.main = WatchedRunning(self._inner.start(step), self._make_watch)
        return self.main


def values_of(outcome: Outcome, series: Series) -> dict[str, float]:
    """The figures of a run that ended well."""
    usage = outcome.usage
    values: dict[str, float] = {
        "cpu_s": usage.cpu_s,
        "wall_s": outcome.seconds,
        "minor_faults": max(0, usage.minor_faults),
        "major_faults": max(0, usage.major_faults),
    }
    if outcome.peak_kib > usage.floor_kib + FLOOR_SLACK_KIB:
        values["peak_bytes"] = outcome.peak_kib * KIB
    elif outcome.inspection is not None and outcome.inspection.peak_kib:
        values["peak_bytes"] = outcome.inspection.peak_kib * KIB
    calm = steady(series)
    if calm is not None:
        values["steady_bytes"] = calm
    if usage.instructions is not None:
        values["instructions"] = usage.instructions
    return values


def failure(outcome: Outcome, status: int, seconds: float) -> str:
    """What was wrong with the end of a program; "" where nothing."""
    if outcome.timed_out:
        return f"no end after {seconds:g} s"
    if outcome.not_started:
        return f"cannot be started: {outcome.not_started}"
    if outcome.status == status:
        return ""
    lines = outcome.stderr.decode("utf-8", "replace").strip().splitlines()
    tail = f": {lines[-1][:200]}" if lines else ""
    if outcome.status < 0:
        return f"died by {signal_name(-outcome.status)}{tail}"
    return f"exit status {outcome.status}, expected {status}{tail}"


def result(  # noqa: PLR0917 (a run has so many sides)
    item: Item, allocator: Allocator, number: int, outcome: Outcome, series: Series, reason: str,
    parsed: Parsed | None = None,
) -> Run:  # fmt: skip
    """The run that an outcome makes; a probe also says whether the allocator was active."""
    note = ""
    if not reason and number == PROBE_ROUND:
        note = preload.why_inactive(allocator, outcome.inspection)
        seen = outcome.inspection
        if allocator.path is not None and seen is not None and note:
            reason, note = f"not active: {note}", ""
    if reason:
        return Run(item.name, allocator.name, number, FAILED, reason)
    values = values_of(outcome, series)
    if parsed is not None and parsed.for_process:
        values, series = dict(parsed.values), []
    elif parsed is not None:
        values |= parsed.values
    said = parsed or Parsed()
    return Run(
        item.name, allocator.name, number, OK, "", note, values, series, said.latencies,
        said.phases, said.digest,
    )  # fmt: skip


@dataclass
class Command:
    """A command as it is, in the caller's folder and environment."""

    item: Item
    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str]
    seconds: float
    status: int = 0
    stdin: str = ""
    parse: Callable[[bytes], Parsed] | None = None
    make_executor: MakeExecutor = SupervisedExecutor
    make_watch: MakeWatch = Sampler

    def missing(self) -> str:
        """Whether the program is there."""
        try:
            program.find(self.argv[0], self.environment.get("PATH", ""))
        except OSError as error:
            return str(error)
        return ""

    def run(self, allocator: Allocator, number: int) -> Run:
        """One process."""
        base = Path(tempfile.mkdtemp(prefix="liballoc-"))
        executor = MeasuringExecutor(
            self.make_executor(base), self.make_watch, probe=number == PROBE_ROUND
        )
        step = Step(
            self.argv, preload.environment(self.environment, allocator), self.cwd, self.stdin,
            measured=True, keep_output=self.parse is not None,
        )  # fmt: skip
        try:
            outcome = executor.start(step).wait(self.seconds)
        finally:
            shutil.rmtree(base, ignore_errors=True)
        assert executor.main is not None
        reason = failure(outcome, self.status, self.seconds)
        parsed = None
        if not reason and self.parse is not None:
            try:
                parsed = self.parse(outcome.stdout)
            except CheckFailedError as error:
                reason = str(error)
        return result(self.item, allocator, number, outcome, executor.main.series, reason, parsed)


@dataclass
class FromWorkload:
    """A workload file: a working folder made anew, then its command, or its server under load.

    What is measured is the program, or the server; preparing, loading and stopping commands run
    without the allocator. The wall time of a server is that of its load.
    """

    item: Item
    workload: Workload
    outer: Mapping[str, str]
    venvs: Venvs | None = None
    make_executor: MakeExecutor = SupervisedExecutor
    make_watch: MakeWatch = Sampler

    def missing(self) -> str:
        """Which programs are not there."""
        path = smoke.base_environment(self.outer, Path("/"))["PATH"]
        names = smoke.missing_programs(self.workload, path)
        if not names:
            return ""
        return smoke.how_to_get(self.workload, names)

    def run(self, allocator: Allocator, number: int) -> Run:
        """One run in a new folder."""
        base = smoke.make_base(tempfile.gettempdir())
        try:
            return self._run(base, allocator, number)
        except CheckFailedError as error:
            return Run(self.item.name, allocator.name, number, FAILED, str(error))
        finally:
            shutil.rmtree(base, ignore_errors=True)

    def _run(self, base: Path, allocator: Allocator, number: int) -> Run:
        workload = self.workload
        work = smoke.make_work(base, workload)
        executor = MeasuringExecutor(
            self.make_executor(base / "steps"), self.make_watch, probe=number == PROBE_ROUND
        )
        python = ""
        if workload.requirements and self.venvs is not None:
            python = self.venvs.python_with(workload.requirements)
        environment = smoke.base_environment(self.outer, work)
        # Workloads that show their processes to the gate wait for its answer.
        with Gate(base / "gate", None) as gate:
            session = smoke.Session(
                workload, executor, work=work,
                environment={**environment, "LIBALLOC_GATE": str(gate.path)}, gate=gate,
                deadline=time.monotonic() + workload.seconds, venv_python=python,
            )  # fmt: skip
            session.set_up()
            session.use_preload("" if allocator.path is None else str(allocator.path))
            outcomes = session.serve() if workload.server else session.command()
        main = outcomes[0][1]
        expected = session.expected_status(main)
        reasons = [failure(main, expected, workload.seconds), *session.failures]
        for name, outcome in outcomes[1:]:
            text = failure(outcome, 0, workload.seconds)
            if text:
                reasons.append(f"{name}: {text}")
        if workload.server:
            main = replace(main, seconds=sum(outcome.seconds for _, outcome in outcomes[1:]))
        assert executor.main is not None
        reason = "; ".join(text for text in reasons if text)
        return result(self.item, allocator, number, main, executor.main.series, reason)
