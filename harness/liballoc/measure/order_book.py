"""Builds the order book for each kind of memory, runs them in turn, and says what they showed."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liballoc.allocators import preload
from liballoc.allocators.registry import Allocator
from liballoc.errors import CheckFailedError, ToolMissingError
from liballoc.measure.selfmeasured import read_object
from liballoc.units import one_decimal

SOURCES = Path("workloads") / "src" / "order_book"
HEADERS = Path("zig") / "include"
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O2", "-g")
MALLOC, POOL = "malloc", "pool"
RANKS = ("p50", "p90", "p99", "p99.9", "p99.99", "max", "mean")
# A request takes less than a microsecond.
SECONDS_MAX = 600

Run = Callable[[Sequence[str], Mapping[str, str]], dict[str, Any]]


@dataclass(frozen=True)
class Contender:
    """A kind of memory for orders, and the allocator that is preloaded."""

    name: str
    memory: str
    allocator: Allocator


@dataclass
class Latencies:
    """Of one kind of call under one contender, over all rounds."""

    rounds: list[Mapping[str, float]] = field(default_factory=list)
    nanoseconds: Counter[float] = field(default_factory=Counter)
    """The raw distribution, the timer's cost in it: from where a bucket begins, how many."""

    def rank(self, name: str) -> float:
        """The median of the rounds; of the largest the largest."""
        values = [each[name] for each in self.rounds]
        return max(values) if name == "max" else statistics.median(values)


@dataclass
class Shown:
    """What a contender showed."""

    contender: Contender
    malloc_from: str = ""
    calls: dict[str, Latencies] = field(default_factory=dict)
    timers: list[Mapping[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What depends on the requests alone: digest, trades, statuses."""


def build(root: Path, library: Path, folder: Path) -> dict[tuple[str, bool], Path]:
    """The programs, by the kind of memory and whether each call of it is timed."""
    if shutil.which("gcc") is None:
        raise ToolMissingError("gcc is missing: apt-get install gcc libc6-dev")
    sources = sorted(str(path) for path in (root / SOURCES).glob("*.c"))
    programs = {}
    for memory in (MALLOC, POOL):
        link = []
        if memory == POOL:
            link = ["-DORDER_BOOK_POOL", f"-I{root / HEADERS}", str(library),
                    f"-Wl,-rpath,{library.parent}"]  # fmt: skip
        for timed in (False, True):
            target = folder / f"order_book-{memory}{'-timed' if timed else ''}"
            more = ["-DTIME_ALLOCATIONS"] if timed else []
            command = ["gcc", *FLAGS, *more, *sources, *link, "-o", str(target)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise CheckFailedError(f"{root / SOURCES}: gcc: {done.stderr.strip()[-300:]}")
            programs[memory, timed] = target
    return programs


def run_program(argv: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """The one JSON object that a run prints."""
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv, env=environment, capture_output=True, timeout=SECONDS_MAX, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailedError(f"{name}: no end after {SECONDS_MAX} s") from error
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace").strip()[-300:]
        raise CheckFailedError(f"{name}: exit status {done.returncode}: {text}")
    return read_object(done.stdout)


@dataclass(frozen=True)
class Plan:
    """What is run: every contender in every round, in an order drawn anew each time."""

    programs: Mapping[tuple[str, bool], Path]
    contenders: Sequence[Contender]
    orders: int
    seed: int
    rounds: int
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def measure(plan: Plan, run: Run = run_program, draw: random.Random | None = None) -> list[Shown]:
    """Run the plan. CheckFailedError where two contenders traded differently."""
    draw = draw or random.Random()
    shown = {each.name: Shown(each) for each in plan.contenders}
    turns = [(each, timed) for each in plan.contenders for timed in (False, True)]
    for _ in range(plan.rounds):
        for contender, timed in draw.sample(turns, len(turns)):
            program = plan.programs[contender.memory, timed]
            argv = [str(program), "--orders", str(plan.orders), "--seed", str(plan.seed), "--json"]
            environment = preload.environment(plan.environment, contender.allocator)
            add(shown[contender.name], run(argv, environment))
    found = list(shown.values())
    for other in found[1:]:
        if other.facts != found[0].facts:
            raise CheckFailedError(
                f"{found[0].contender.name} and {other.contender.name} traded differently: "
                f"{found[0].facts} and {other.facts}"
            )
    return found


FACTS = ("orders", "seed", "digest", "trades", "quantity", "live", "statuses")


def add(shown: Shown, document: Mapping[str, Any]) -> None:
    """One run's figures to those of its contender."""
    name = shown.contender.name
    try:
        facts = {key: document[key] for key in FACTS}
        if document["memory"] != shown.contender.memory:
            raise CheckFailedError(f"{name}: ran with memory from {document['memory']}")
        timer = document["timer"]
        shown.malloc_from = str(document["malloc_from"])
        wanted = shown.contender.allocator.path
        if wanted is not None and Path(shown.malloc_from).resolve() != wanted.resolve():
            raise CheckFailedError(f"{name}: malloc came from {shown.malloc_from}, not {wanted}")
        shown.timers.append(timer)
        for call, latencies in document["latencies"].items():
            into = shown.calls.setdefault(call, Latencies())
            into.rounds.append({rank: float(latencies[rank]) for rank in RANKS})
            for first, _, count in latencies["ticks"]:
                into.nanoseconds[one_decimal(first * 1e9 / timer["hz"])] += int(count)
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise CheckFailedError(f"the order book's JSON lacks something: {error!r}") from error
    if shown.facts and facts != shown.facts:
        raise CheckFailedError(f"{name}: two runs traded differently: {shown.facts} and {facts}")
    shown.facts = facts


def timer_step(shown: Sequence[Shown]) -> float:
    """The step in which the counter moves, in ns: no single latency is known better."""
    return _timer(shown, "step_ticks")


def timer_cost(shown: Sequence[Shown]) -> float:
    """What was subtracted from each latency, in ns."""
    return _timer(shown, "subtracted_ticks")


def _timer(shown: Sequence[Shown], key: str) -> float:
    timers = [timer for each in shown for timer in each.timers]
    return float(statistics.median(timer[key] * 1e9 / timer["hz"] for timer in timers))


def as_json(shown: Sequence[Shown], rounds: int) -> dict[str, Any]:
    """The report as one object."""
    return {
        **shown[0].facts,
        "rounds": rounds,
        "timer": {
            "source": shown[0].timers[0]["source"],
            "step_ns": one_decimal(timer_step(shown)),
            "subtracted_ns": one_decimal(timer_cost(shown)),
        },
        "contenders": [
            {
                "name": each.contender.name,
                "memory": each.contender.memory,
                "malloc_from": each.malloc_from,
                "latency_ns": {
                    call: {rank: round(latencies.rank(rank), 2) for rank in RANKS}
                    for call, latencies in each.calls.items()
                },
                "raw_ns": {
                    call: sorted(latencies.nanoseconds.items())
                    for call, latencies in each.calls.items()
                },
            }
            for each in shown
        ],
    }
