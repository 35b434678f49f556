"""What tests of measurements share: a machine that never runs anything, and made-up results."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from liballoc.allocators.registry import Allocator
from liballoc.measure.memory import Series
from liballoc.measure.record import OK, PROBE_ROUND, Header, Item, Run
from liballoc.workload.launch import Inspection, Outcome, Step, Usage
from tests.unit.fakes import FakeExecutor

GLIBC = Allocator("glibc", None, "2.36")
OWN = Allocator("liballoc", Path("/lib/liballoc.so"), "0.1.0", "aa")
PEER = Allocator("peer", Path("/lib/libpeer.so"), "3", "bb")
ALLOCATORS = (GLIBC, OWN, PEER)
MACHINE = {
    "architecture": "x86_64", "cpu": "A CPU", "cpus": 2, "memory": 1 << 30, "kernel": "6",
    "system": "Debian", "huge_pages": "always", "governor": "", "page_size": 4096,
}  # fmt: skip
# Costs of each allocator in made-up results: time, memory.
PHASES = [("grown", 4e6, 5e6), ("freed", 1e6, 4e6), ("empty", 0.0, 3e6)]
FACTORS = {"glibc": (1.0, 1.0), "liballoc": (0.5, 1.2), "peer": (1.0, 2.0)}


class NoWatch:
    """Sees a program that holds 1 MiB, then 2 MiB."""

    def __init__(self, supervisor: int) -> None:
        self.supervisor = supervisor

    def stop(self) -> Series:
        """What was seen."""
        return [(n / 10, (1 << 20) if n < 10 else (2 << 20)) for n in range(20)]


def ended(
    step: Step, *, cpu_s: float = 0.5, status: int = 0, peak_kib: int = 65_536, stdout: bytes = b""
) -> Outcome:
    """How a measured program ended; under inspection it has the preloaded file mapped."""
    library = step.environment.get("LD_PRELOAD", "").split()[:1]
    seen = Inspection("/bin/true", ("/bin/true", "/lib/libc.so.6", *library), peak_kib)
    usage = Usage(cpu_s, 10, 0, None, 9_000)
    return Outcome(
        status, stdout, b"oops\n", 0.75, peak_kib, usage=usage,
        inspection=seen if step.inspect else None,
    )  # fmt: skip


def make_executor(behaviour: Callable[[Step], Outcome]) -> Callable[[Path], FakeExecutor]:
    """For a subject."""
    return lambda folder: FakeExecutor(behaviour)


def header(*items: Item, rounds: int = 8) -> Header:
    """Of a measurement of these items."""
    entries = [
        {"name": each.name, "path": str(each.path or ""), "version": each.version,
         "digest": each.digest}
        for each in ALLOCATORS
    ]  # fmt: skip
    return Header("liballoc compare -- x", 1, rounds, MACHINE, entries, items, "0.1.0")


def item(name: str = "x", time: str = "cpu_s") -> Item:
    """An item."""
    return Item(name, f"why {name}", "command", time)


def runs(*items: Item, rounds: int = 8, noise: float = 0.01, seed: int = 1) -> list[Run]:
    """Runs that cost as FACTORS say, with some noise."""
    chance = random.Random(seed)
    found = []
    for number in range(PROBE_ROUND, rounds + 1):
        for each in items:
            for name, (time, memory) in FACTORS.items():
                factor = chance.lognormvariate(0, noise)
                values = {
                    each.time: 10 * time * factor, "wall_s": 11 * time * factor,
                    "peak_bytes": memory * (1 << 26), "minor_faults": 100.0, "p50_ns": 10 * factor,
                }  # fmt: skip
                latencies = {"50": 10.0, "99": 50.0, "99.9": 900 * factor}
                phases = PHASES if each.time == "alloc_ns" else []
                series = NoWatch(0).stop()
                found.append(
                    Run(each.name, name, number, OK, values=values, series=series,
                        latencies=latencies, digest="d", phases=phases)
                )  # fmt: skip
    return found
