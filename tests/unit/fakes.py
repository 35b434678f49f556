"""Fakes that stand for the machine: an executor that plays back what programs would do."""

from __future__ import annotations

import json
import platform
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liballoc.workload.launch import Outcome, Step

# e_machine of the architectures that the library is built for.
ELF_MACHINES = {"x86_64": 62, "aarch64": 183, "riscv64": 243}

Behaviour = Callable[[Step], Outcome]


def outcome(stdout: str = "", *, status: int = 0, stderr: str = "") -> Outcome:
    """How a command ended."""
    return Outcome(status, stdout.encode(), stderr.encode(), 0.5, 4096)


def has_library(step: Step) -> bool:
    """Whether a step is started on the library."""
    return "LD_PRELOAD" in step.environment


def write_stats(step: Step, *exes: str, allocations: int = 3) -> None:
    """What the library would write for processes that end through exit()."""
    if not has_library(step):
        return
    path = Path(step.environment["ALLOC_CONF"].split("stats_at_exit:")[1])
    with path.open("a") as file:
        for number, exe in enumerate(exes):
            entry = {
                "liballoc": "0.1.0",
                "pid": 1000 + number,
                "exe": exe,
                "allocations": allocations,
                "frees": 1,
            }
            file.write(json.dumps(entry) + "\n")


def write_library(path: Path) -> None:
    """The least that is a shared object of this machine: two segments, four dynamic tags."""
    tags = [(5, 0), (10, 1), (0x6FFFFFFB, 8), (0, 0)]  # STRTAB, STRSZ, FLAGS_1, NULL
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    head, segment = 64, 56
    start = head + 2 * segment
    size = start + len(dynamic)
    machine = ELF_MACHINES[platform.machine()]
    header = b"\x7fELF\2\1\1" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, head, 0, 0, head, segment, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    place = struct.pack("<IIQQQQQQ", 2, 4, start, start, start, len(dynamic), len(dynamic), 8)
    path.write_bytes(header + load + place + dynamic)


@dataclass
class FakeRun:
    """A command that has been 'started'."""

    result: Outcome
    alive_polls: int = 0
    signals: list[int] = field(default_factory=list)
    supervisor: int = 0

    def pids(self) -> list[int]:
        """Nothing lives."""
        return []

    def ended(self) -> bool:
        """Alive for as many questions as it was made for."""
        self.alive_polls -= 1
        return self.alive_polls < 0

    def signal(self, number: int) -> None:
        """Remember it."""
        self.signals.append(number)

    def wait(self, seconds: float) -> Outcome:
        """The end that was given."""
        return self.result


class FakeExecutor:
    """Starts nothing; asks a function what each command would have done."""

    def __init__(self, behaviour: Behaviour, alive_polls: int = 0) -> None:
        self.behaviour = behaviour
        self.alive_polls = alive_polls
        self.steps: list[Step] = []
        self.runs: list[FakeRun] = []

    def start(self, step: Step) -> FakeRun:
        """Remember the step and play it."""
        self.steps.append(step)
        run = FakeRun(self.behaviour(step), self.alive_polls)
        self.runs.append(run)
        return run

    def argvs(self) -> list[Sequence[str]]:
        """What was started."""
        return [step.argv for step in self.steps]
