"""Runs a workload twice, without the library and on it, and judges what came out.

Both runs happen in a working folder of the same name, made anew, with the same small environment,
so that whatever differs is the library's doing.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from liballoc.errors import CheckFailedError, ToolMissingError, UsageError
from liballoc.workload import compare, proof
from liballoc.workload.launch import Executor, Outcome, Running, Step, SupervisedExecutor
from liballoc.workload.proof import Gate, Proven
from liballoc.workload.schema import Server, Workload
from liballoc.workload.venv import Venvs

# How often a server that is starting is asked whether it is ready.
READY_POLL_S = 0.05

# sun_path has 108 bytes; the gate's own name and mkdtemp's take 30.
SOCKET_FOLDER_MAX = 70

OK, FAIL, SKIPPED = "ok", "FAIL", "skipped"


@dataclass(frozen=True)
class Result:
    """What became of one workload; written to JSON as it is."""

    name: str
    state: str
    why: str
    reasons: list[str] = field(default_factory=list)
    proven: list[Proven] = field(default_factory=list)
    seconds_without: float = 0.0
    seconds_with: float = 0.0
    peak_kib_without: int = 0
    peak_kib_with: int = 0


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    behaviour: compare.Behaviour
    proven: list[Proven]
    seconds: float
    peak_kib: int
    failures: list[str]


def python_program() -> str:
    """The interpreter itself, not the link to it in a virtual environment."""
    return str(Path(sys.executable).resolve())


def base_environment(outer: Mapping[str, str], work: Path) -> dict[str, str]:
    """What a program finds in its environment: nothing of the user's but PATH."""
    path = proof.clean_path(outer.get("PATH", os.defpath), outer.get("VIRTUAL_ENV", sys.prefix))
    return {
        "PATH": path,
        "HOME": str(work),
        "TMPDIR": str(work),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "USER": "smoke",
        "PYTHONHASHSEED": "0",
    }


def missing_programs(workload: Workload, path: str) -> list[str]:
    """The programs that the workload starts and this machine does not have."""
    wanted = [argv[0] for argv in workload.commands()] + list(workload.programs)
    unique = dict.fromkeys(
        name
        for name in wanted
        if name not in ("{python}", "{venv}") and ("/" not in name or name.startswith("/"))
    )
    return [name for name in unique if shutil.which(name, path=path) is None]


def make_base(folder: str) -> Path:
    """A new folder, where a name that is too long for a socket's address is avoided."""
    where = folder if len(folder) < SOCKET_FOLDER_MAX else "/tmp"
    return Path(tempfile.mkdtemp(prefix="liballoc-", dir=where)).resolve()


def make_work(base: Path, workload: Workload) -> Path:
    """The working folder, made anew with the workload's files."""
    work = base / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in workload.files:
        source = Path(workload.source).parent / name
        shutil.copy(source, work / source.name)
    return work


def how_to_get(workload: Workload, missing: Sequence[str]) -> str:
    """Which programs are missing, and the packages that bring them; one's own are in none."""
    words = f"{', '.join(missing)} missing"
    return f"{words}: apt-get install {' '.join(workload.packages)}" if workload.packages else words


class SmokeRun:
    """The two runs of one workload."""

    def __init__(
        self,
        workload: Workload,
        library: Path,
        *,
        make_executor: Callable[[Path], Executor] = SupervisedExecutor,
        outer: Mapping[str, str] = os.environ,
        venvs: Venvs | None = None,
    ) -> None:
        self.workload = workload
        self.preload = library.resolve()
        self._venvs = venvs
        self._venv_python = ""
        self._make_executor = make_executor
        self._outer = outer

    def run(self) -> Result:
        """Run both sides and compare; nothing of it is left on disk."""
        workload = self.workload
        path = base_environment(self._outer, Path("/"))["PATH"]
        missing = missing_programs(workload, path)
        if missing:
            return Result(workload.name, SKIPPED, workload.why, [how_to_get(workload, missing)])
        if workload.requirements:
            if self._venvs is None:
                raise UsageError(f"{workload.name}: has requirements, but there is no folder")
            try:
                self._venv_python = self._venvs.python_with(workload.requirements)
            except ToolMissingError as error:
                return Result(workload.name, SKIPPED, workload.why, [str(error)])
        base = make_base(tempfile.gettempdir())
        try:
            without = self._side(base, None)
            with_library = self._side(base, self.preload)
        except CheckFailedError as error:
            return Result(workload.name, FAIL, workload.why, [str(error)])
        finally:
            shutil.rmtree(base, ignore_errors=True)
        reasons = self._judge(without, with_library, path)
        return Result(
            workload.name,
            FAIL if reasons else OK,
            workload.why,
            reasons,
            with_library.proven,
            without.seconds,
            with_library.seconds,
            without.peak_kib,
            with_library.peak_kib,
        )

    def _judge(self, without: Side, with_library: Side, path: str) -> list[str]:
        workload = self.workload
        reasons = [f"without the library: {text}" for text in without.failures]
        reasons += [f"with the library: {text}" for text in with_library.failures]
        reasons += compare.differences(
            without.behaviour, with_library.behaviour, workload.substitutions
        )
        proven = with_library.proven
        if workload.proof == "maps":
            proven = [process for process in proven if process.how == "maps"]
        for pattern in proof.missing_patterns(workload.processes, proven, path):
            reasons.append(f"library not active in {pattern} (proof: {workload.proof})")
        matching = [
            process
            for process in proven
            if any(proof.matches(process.exe, pattern, path) for pattern in workload.processes)
        ]
        count = len({process.pid for process in matching})
        if count < workload.process_count:
            reasons.append(
                f"library active in {count} processes, expected {workload.process_count}"
            )
        return reasons

    def _side(self, base: Path, library: Path | None) -> Side:
        work = make_work(base, self.workload)
        label = "without" if library is None else "with"
        stats = base / f"{label}.stats"
        executor = self._make_executor(base / label)
        plain = base_environment(self._outer, work) | {"LIBALLOC_GATE": str(base / "gate")}
        with Gate(base / "gate", library) as gate:
            deadline = time.monotonic() + self.workload.seconds
            session = Session(
                self.workload,
                executor,
                work=work,
                environment=plain,
                gate=gate,
                deadline=deadline,
                venv_python=self._venv_python,
            )
            session.set_up()
            session.use_library(library, stats)
            outcomes = session.serve() if self.workload.server else session.command()
        failures = session.failures
        for name, outcome in outcomes:
            if outcome.timed_out:
                failures.append(f"{name}: no end after {self.workload.seconds:g} s")
        main = outcomes[0][1]
        expected = session.expected_status(main)
        if not main.timed_out and main.status != expected:
            failures.append(f"exit status {main.status}, expected {expected}")
        behaviour = compare.Behaviour(
            tuple(outcomes), compare.digest_files(work, self.workload.outputs)
        )
        proven = [*gate.proven, *proof.read_stats(stats)]
        return Side(behaviour, proven, main.seconds, main.peak_kib, failures)


class Session:
    """The commands of one side, in order, before one deadline."""

    def __init__(
        self,
        workload: Workload,
        executor: Executor,
        *,
        work: Path,
        environment: Mapping[str, str],
        gate: Gate,
        deadline: float,
        venv_python: str = "",
    ) -> None:
        self.failures: list[str] = []
        self._workload = workload
        self._executor = executor
        self._work = work
        self._plain = dict(environment)
        self._environment = self._plain
        self._others: Mapping[str, str] | None = None
        self._gate = gate
        self._deadline = deadline
        self._stopped_by = 0
        self._words = {
            "{python}": python_program(),
            "{venv}": venv_python,
            "{dir}": str(work),
        }

    def use_library(self, library: Path | None, stats: Path) -> None:
        """From here on commands get the workload's environment, and the library if there is one."""
        environment = {**self._plain, **self._expand_values(self._workload.environment)}
        if library is not None:
            option = f"stats_at_exit:{stats}"
            given = environment.get("ALLOC_CONF")
            environment["ALLOC_CONF"] = f"{given},{option}" if given else option
            environment["LD_PRELOAD"] = str(library)
        self._environment = environment

    def use_preload(self, library: str) -> None:
        """From here on the program gets a library; what loads and stops it goes without."""
        self._others = {**self._plain, **self._expand_values(self._workload.environment)}
        self._environment = dict(self._others)
        if library:
            self._environment["LD_PRELOAD"] = library

    def set_up(self) -> None:
        """Run the preparing commands; they must succeed."""
        for argv in self._workload.setup:
            outcome = self._run(argv)
            if outcome.status != 0 or outcome.timed_out:
                text = outcome.stderr.decode("utf-8", "replace").strip()[-300:]
                raise CheckFailedError(f"setup {argv[0]}: exit status {outcome.status}: {text}")

    def command(self) -> list[tuple[str, Outcome]]:
        """The program of a workload of kind command."""
        outcome = self._executor.start(self._main()).wait(self._rest())
        return [(Path(self._workload.argv[0]).name, outcome)]

    def serve(self) -> list[tuple[str, Outcome]]:
        """Start the server, wait until it answers, load it, stop it."""
        server = self._workload.server
        assert server is not None
        running = self._executor.start(self._main())
        outcomes: list[tuple[str, Outcome]] = []
        patience = 0.0
        try:
            if self._await_ready(server, running):
                for pid in running.pids():
                    self._gate.look_at(pid)
                for argv in server.load:
                    outcomes.append((f"load {Path(argv[0]).name}", self._run(argv)))
                self._stop(server, running)
                patience = self._rest()
        finally:
            main = running.wait(patience)
        return [(Path(self._workload.argv[0]).name, main), *outcomes]

    def expected_status(self, main: Outcome) -> int:
        """How the program is to end: a server may also die by the signal that stopped it."""
        if self._stopped_by and main.status == -self._stopped_by:
            return main.status
        return self._workload.status

    def _await_ready(self, server: Server, running: Running) -> bool:
        plain = dict(self._plain)
        while not running.ended():
            outcome = self._executor.start(self._step(server.ready, environment=plain)).wait(
                self._rest()
            )
            if server.ready_output in outcome.stdout.decode("utf-8", "replace"):
                return True
            if self._rest() <= 0:
                break
            time.sleep(READY_POLL_S)
        self.failures.append("the server was not ready")
        return False

    def _stop(self, server: Server, running: Running) -> None:
        if server.stop_signal:
            self._stopped_by = signal.Signals[server.stop_signal]
            running.signal(self._stopped_by)
        else:
            self._run(server.stop)

    def _run(self, argv: Sequence[str]) -> Outcome:
        step = self._step(argv, environment=self._others)
        return self._executor.start(step).wait(self._rest())

    def _main(self) -> Step:
        return replace(self._step(self._workload.argv, self._workload.stdin), measured=True)

    def _rest(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    def _step(
        self, argv: Sequence[str], stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> Step:
        expanded = [self._expand(text) for text in argv]
        return Step(expanded, environment or self._environment, self._work, stdin)

    def _expand(self, text: str) -> str:
        for word, value in self._words.items():
            text = text.replace(word, value)
        return text

    def _expand_values(self, table: Mapping[str, str]) -> dict[str, str]:
        return {key: self._expand(value) for key, value in table.items()}
