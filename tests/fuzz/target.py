"""The fuzz targets: each runs inputs for a while and says how it ended."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from liballoc.errors import CheckFailedError
from liballoc.toolchain import zig
from tests.fuzz import scripts
from tests.native import ROOT, Native, Subject

FOLDER = Path(__file__).resolve().parent
ABI = FOLDER / "src" / "abi.c"
REGRESSIONS = FOLDER / "regressions"
SCRIPT_TIMEOUT_S = 120

Progress = Callable[[str, int, float], None]
"""Told the target, the inputs so far and the seconds so far."""


@dataclass(frozen=True)
class Result:
    """How a target ended. `saved` is the input that failed, `why` what was said of it."""

    target: str
    inputs: int
    seconds: float
    saved: Path | None = None
    why: str = ""

    @property
    def failed(self) -> bool:
        """Whether an input failed."""
        return self.saved is not None


@dataclass
class Abi:
    """The whole C ABI of one library: scripts from a seed on, each in a fresh process."""

    native: Native
    subject: Subject
    seed: int
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"abi, {self.subject.name}"

    def failure(self, script: bytes) -> str | None:
        """What was said of a script; None when all was right."""
        program = self.native.build(ABI, None, ["-O2"])
        file = self.native.folder / f"script-{self.subject.name}.bin"
        file.write_bytes(script)
        try:
            outcome = self.native.run(
                program, "script", file, subject=self.subject, timeout=SCRIPT_TIMEOUT_S
            )
        except pytest.fail.Exception as hang:
            return str(hang)
        return None if outcome.status == 0 else outcome.ending

    def run(self, seconds: float, told: Progress, inputs_max: int | None = None) -> Result:
        """Scripts until the time is over, or one fails: that is cut down and saved."""
        begin, inputs = time.monotonic(), 0
        while inputs_max is None or inputs < inputs_max:
            spent = time.monotonic() - begin
            if spent >= seconds:
                break
            seed = self.seed + inputs
            script = scripts.make(seed)
            inputs += 1
            if (why := self.failure(script)) is not None:
                return self._failed(seed, script, why, inputs, begin)
            told(self.name, inputs, spent)
        return Result(self.name, inputs, time.monotonic() - begin)

    def _failed(self, seed: int, script: bytes, why: str, inputs: int, begin: float) -> Result:
        small = scripts.minimise(script, lambda candidate: self.failure(candidate) is not None)
        saved = REGRESSIONS / f"abi-{seed}.bin"
        saved.parent.mkdir(exist_ok=True)
        saved.write_bytes(small)
        steps = [small[at : at + scripts.STEP].hex(" ") for at in range(0, len(small), 5)]
        why = f"seed {seed}: {self.failure(small) or why}\nsteps: {', '.join(steps)}"
        return Result(self.name, inputs, time.monotonic() - begin, saved, why)


RUNS = re.compile(r"^Runs: (\d+) -> (\d+)", re.MULTILINE)
SAVED = re.compile(r"input saved to '([^']+)'")
# What a first round does: small, so that its rate tells how long the next may be.
FIRST_ROUND = 40
# Compiling with instrumentation, when the cache is empty.
COMPILE_S = 600
# In the form in which a Zig target reads its bytes their length comes first.
LENGTH = 4


def run_zig(arguments: list[str], timeout: float) -> str:
    """What `zig build` printed."""
    command = [str(zig.find().executable), "build", *arguments]
    environment = zig.build_environment(dict(os.environ))
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            return process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            # The build system's own children too: one of them hangs in an input.
            os.killpg(process.pid, signal.SIGKILL)
            raise CheckFailedError(f"zig build {arguments}: no end in {timeout:.0f} s") from None


@dataclass(frozen=True)
class Zig:
    """A `std.testing.fuzz` target: `zig build test --fuzz=N`, which is guided by coverage."""

    name: str
    """Also how the files of its inputs begin."""
    layer: str
    step: int
    """Bytes that belong together when an input is cut down."""

    def failure(self, native: Native, file: Path) -> str | None:
        """What was said of an input; None when all was right. Needs `build_zig_targets`."""
        program = ROOT / "zig-out" / "bin" / f"fuzz-{self.layer}"
        try:
            outcome = native.run(program, env={"FUZZ_INPUT": str(file)}, timeout=SCRIPT_TIMEOUT_S)
        except pytest.fail.Exception as hang:
            return str(hang)
        return None if outcome.status == 0 else outcome.ending

    def run(self, seconds: float, told: Progress) -> Result:
        """Rounds of so many inputs as fit into the time that is left."""
        inputs, count = 0, FIRST_ROUND
        told(self.name, 0, 0)
        begin = time.monotonic()
        while (left := seconds - (time.monotonic() - begin)) > 0:
            round_begin = time.monotonic()
            test = f"-Dtest-filter=fuzz: {self.name.replace('-', ' ')}"
            output = run_zig(["test", f"--fuzz={count}", test], COMPILE_S + left * 4)
            spent = time.monotonic() - round_begin
            if saved := SAVED.search(output):
                return self._failed(ROOT / saved[1], output, inputs, begin)
            runs = RUNS.search(output)
            if runs is None:
                raise CheckFailedError(f"{self.name}: no report of zig: {output[-2000:]}")
            inputs += int(runs[2]) - int(runs[1])
            told(self.name, inputs, time.monotonic() - begin)
            left = seconds - (time.monotonic() - begin)
            count = max(int(count * left / spent), 1)
        return Result(self.name, inputs, time.monotonic() - begin)

    def _failed(self, crash: Path, output: str, inputs: int, begin: float) -> Result:
        build_zig_targets()
        script = crash.read_bytes()[LENGTH:]
        saved = REGRESSIONS / f"{self.name}-{hashlib.sha256(script).hexdigest()[:8]}.bin"
        saved.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="liballoc-fuzz-") as folder:
            native, file = Native(Path(folder)), Path(folder) / saved.name

            def fails(candidate: bytes) -> bool:
                file.write_bytes(as_input(candidate))
                return self.failure(native, file) is not None

            # It may need what inputs before it left behind: then it is kept as it is.
            small = scripts.minimise(script, fails, self.step) if fails(script) else script
        saved.write_bytes(as_input(small))
        why = f"{output.strip()[:1500]}\nbytes: {small.hex(' ', self.step)}"
        return Result(self.name, inputs, time.monotonic() - begin, saved, why)


def as_input(script: bytes) -> bytes:
    """Bytes as a Zig target reads them."""
    return len(script).to_bytes(LENGTH, "little") + script


def build_zig_targets() -> None:
    """The targets by themselves, for one input at a time."""
    output = run_zig(["fuzz", "--prefix", "zig-out"], COMPILE_S)
    if "error:" in output:
        raise CheckFailedError(f"zig build fuzz: {output}")


ZIG_TARGETS = (
    Zig("options", "abi", step=1),
    Zig("run-allocator", "region", step=4),
    Zig("heap", "abi", step=4),
)
