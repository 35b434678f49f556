"""Programs that measure themselves, as items: allocbench's profiles and the hot path's cases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from liballoc.errors import CheckFailedError
from liballoc.measure.record import ALLOCBENCH, Item
from liballoc.measure.subject import Command, Parsed
from liballoc.units import KIB
from liballoc.workload.smoke import base_environment

SECONDS_MAX = 300.0

QUICK_PROFILES = ("small", "mixed", "large", "replace-30k", "producer-consumer", "phases")
# About 100 ms of calls where one takes 15 to 40 ns.
OPS = 5_000_000
# Profiles whose blocks are so large that writing them is most of the time; or whose memory would
# grow with the calls.
SLOW_PROFILES = {
    "large": 200_000, "phases": 300_000, "shrink": 400_000, "realloc": 400_000,
    "calloc": 400_000, "replace-30k": 3_000_000, "replace-400k": 3_000_000,
}  # fmt: skip

CASES = (
    "pair 32", "pair 1000", "pair 4000", "pair 20000", "pair 100000", "pair 300000",
    "pair 2000000", "pair 5000000", "pair 25000000", "batch 64 1000", "batch 64 100000",
    "replace 30000", "replace 400000", "remote", "floor", "idle 256", "spent 16", "threads 1",
    "threads 2", "threads 8", "threads 64", "swing 1024",
)  # fmt: skip

# Made for the memory that they show.
MEMORY_CASES = ("floor", "idle")

PERCENTILE = re.compile(r"p([0-9]{2})([0-9]*)(\.[0-9]+)?")


def read_object(text: bytes) -> dict[str, Any]:
    """The one JSON object that a program printed."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CheckFailedError(f"printed no JSON: {text[:60]!r}") from error
    if not isinstance(found, dict):
        raise CheckFailedError(f"printed no JSON object: {text[:60]!r}")
    return found


def percentile(name: str) -> str:
    """ "99.9" for p99.9 and p999; "" where it is no percentile."""
    match = PERCENTILE.fullmatch(name)
    if match is None:
        return ""
    digits, more, decimals = match.groups()
    return f"{digits}.{more}" if more else f"{digits}{decimals or ''}"


def parse_allocbench(text: bytes) -> Parsed:
    """What `allocbench --json` says of the heap.

    Of its process nothing is kept: the lists of operations, and three forked passes that share
    them, are most of its memory, its time and its faults.
    """
    found = read_object(text)
    try:
        rate = float(found["alloc_per_sec"] or 0)
        latencies = {
            label: float(value)
            for name, value in found["latency_ns"].items()
            if value is not None and (label := percentile(name))
        }
        more = {
            "fragmentation_pct": found["fragmentation_pct"],
            "peak_bytes": found["memory"]["resident_peak"],
            "minor_faults": found["memory"]["minor_faults"],
            "instructions": found["counters"]["instructions"],
        }
        values = {name: float(value) for name, value in more.items() if value is not None}
        phases = [
            (str(phase["name"]), float(phase["requested"]), float(phase["resident"]))
            for phase in found["phases"] or ()
            if phase["requested"] is not None and phase["resident"] is not None
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckFailedError(f"allocbench's JSON lacks something: {error!r}") from error
    for label, value in latencies.items():
        if f"p{label}_ns" in KEPT:
            values[f"p{label}_ns"] = value
    if rate > 0:
        values["alloc_ns"] = 1e9 / rate
    return Parsed(values, latencies, str(found.get("digest", "")), phases, for_process=True)


KEPT = ("p50_ns", "p99_ns", "p99.9_ns", "p99.99_ns")


def parse_case(text: bytes) -> Parsed:
    """The cost of an operation, and the memory that the case holds."""
    found = read_object(text)
    values: dict[str, float] = {}
    if found.get("ns_per_op") is not None:
        values["op_ns"] = float(found["ns_per_op"])
    if found.get("rss_kib") is not None:
        values["peak_bytes"] = float(found["rss_kib"]) * KIB
    return Parsed(values)


def profiles(
    program: Path, listed: Mapping[str, Any], outer: Mapping[str, str], seed: int, *, full: bool
) -> list[Command]:
    """An item a profile that `allocbench --list --json` tells of; brief but in the full form."""
    found = []
    for entry in listed["profiles"]:
        name = str(entry["name"])
        if not full and name not in QUICK_PROFILES:
            continue
        threads = int(entry.get("threads_min", 1))
        # Threads wait for each other, and all their calls are timed.
        ops = SLOW_PROFILES.get(name, OPS if threads == 1 else 2_000_000)
        argv = [
            str(program), "--allocator", "system", "--profile", name, "--seed", str(seed),
            "--ops", str(ops), "--threads", str(threads), "--json", *([] if full else ["--brief"]),
        ]  # fmt: skip
        item = Item(f"allocbench/{name}", str(entry.get("about", "")), ALLOCBENCH, "alloc_ns")
        found.append(
            Command(item, tuple(argv), Path("/"), base_environment(outer, Path("/tmp")),
                    SECONDS_MAX, parse=parse_allocbench)
        )  # fmt: skip
    return found


def cases(program: Path, outer: Mapping[str, str], names: Iterable[str] = CASES) -> list[Command]:
    """An item a case of the hot path's small benchmark."""
    found = []
    for name in names:
        time = "cpu_s" if name.startswith(MEMORY_CASES) else "op_ns"
        item = Item(f"hotpath/{name.replace(' ', '-')}", "a tight loop", "hotpath", time)
        argv = (str(program), *name.split())
        environment = base_environment(outer, Path("/tmp"))
        found.append(Command(item, argv, Path("/"), environment, SECONDS_MAX, parse=parse_case))
    return found
