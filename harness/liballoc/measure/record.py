"""What is kept of a measurement: the header that says what was measured, and one entry a run.

The format's number changes whenever an old reader would misunderstand a new file. History: 1, the
first; 2, allocbench's own figures in the place of its process's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 2
WHAT = "liballoc measurements"

OK, FAILED, SKIPPED = "ok", "failed", "skipped"

ALLOCBENCH = "allocbench"
"""The group of allocbench's profiles, which measure themselves."""

PROBE_ROUND = 0
"""The round whose runs verify and warm up; none of their figures counts as a time."""


@dataclass(frozen=True)
class Metric:
    """A figure of a run; smaller is better for all of them."""

    name: str
    title: str
    unit: str
    """seconds, ns, bytes, count or percent: how a value is written."""
    exact: bool = False
    """Read from the probe where a run gives none."""


METRICS = {
    metric.name: metric
    for metric in (
        Metric("cpu_s", "CPU time", "seconds"),
        Metric("wall_s", "wall time", "seconds"),
        Metric("alloc_ns", "time a block (made, touched, freed)", "ns"),
        Metric("op_ns", "time an operation", "ns"),
        Metric("p50_ns", "malloc p50", "ns"),
        Metric("p99_ns", "malloc p99", "ns"),
        Metric("p99.9_ns", "malloc p99.9", "ns"),
        Metric("p99.99_ns", "malloc p99.99", "ns"),
        Metric("fragmentation_pct", "fragmentation", "percent"),
        Metric("peak_bytes", "peak resident memory", "bytes", exact=True),
        Metric("steady_bytes", "steady resident memory", "bytes"),
        Metric("minor_faults", "minor faults", "count"),
        Metric("major_faults", "major faults", "count"),
        Metric("instructions", "instructions", "count"),
    )
}


@dataclass(frozen=True)
class Item:
    """One thing that is run under every allocator."""

    name: str
    why: str
    group: str
    time: str
    """The metric that is this item's time."""


@dataclass(frozen=True)
class Run:
    """One process from its start to its end; a run that failed has no values."""

    item: str
    allocator: str
    round: int
    state: str
    reason: str = ""
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    series: Sequence[tuple[float, int]] = ()
    """Seconds since the start, and the resident bytes of all its processes."""
    latencies: Mapping[str, float] = field(default_factory=dict)
    """Percentiles of malloc in nanoseconds, by the percentile."""
    phases: Sequence[tuple[str, float, float]] = ()
    """Of a program that goes through some: name, bytes requested, bytes resident of its heap."""
    digest: str = ""
    """Of the sequence of operations, where the program tells."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What a resumed measurement does not do again."""
        return self.item, self.allocator, self.round


@dataclass(frozen=True)
class Header:
    """What is measured, where and how; equal headers make runs comparable."""

    command: str
    seed: int
    rounds: int
    machine: Mapping[str, Any]
    allocators: Sequence[Mapping[str, Any]]
    items: Sequence[Item]
    liballoc: str

    def as_entry(self) -> dict[str, Any]:
        """The first line of a results file."""
        return {"kind": "header", "what": WHAT, "format": FORMAT, **asdict(self)}

    def difference(self, other: Header) -> str:
        """The first thing in which another differs so that runs are not comparable; ""."""
        # As they stand in a file, where a tuple is a list.
        own, others = (json.loads(json.dumps(asdict(each))) for each in (self, other))
        for name in ("machine", "allocators", "items", "seed"):
            mine, theirs = own[name], others[name]
            if mine != theirs:
                if isinstance(mine, dict):
                    keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
                    return f"{name}.{keys[0]}: {theirs.get(keys[0])!r}, now {mine.get(keys[0])!r}"
                return name
        return ""


def as_entry(run: Run) -> dict[str, Any]:
    """A line of a results file."""
    return {"kind": "run", **asdict(run)}


def read_header(entry: Mapping[str, Any]) -> Header:
    """The header that an entry says; KeyError, TypeError where it is none."""
    values = {key: value for key, value in entry.items() if key not in ("kind", "what", "format")}
    values["items"] = [Item(**item) for item in values["items"]]
    header = Header(**values)
    is_plain = isinstance(header.seed, int) and isinstance(header.rounds, int)
    if not is_plain or not isinstance(header.machine, dict):
        raise TypeError("seed, rounds or machine of another kind")
    if not all(isinstance(each["name"], str) for each in header.allocators):
        raise TypeError("an allocator's name that is no text")
    return header


def read_run(entry: Mapping[str, Any]) -> Run:
    """The run that an entry says."""
    values = {key: value for key, value in entry.items() if key != "kind"}
    values["series"] = [(float(at), int(size)) for at, size in values.get("series", ())]
    values["phases"] = [
        (str(name), float(requested), float(held))
        for name, requested, held in values.get("phases", ())
    ]
    for name in ("values", "latencies"):
        found = values.get(name, {})
        values[name] = {str(key): float(value) for key, value in found.items()}
        if not all(math.isfinite(value) for value in values[name].values()):
            raise ValueError(f"{name}: no finite number")
    run = Run(**values)
    if not isinstance(run.round, int) or run.state not in (OK, FAILED, SKIPPED):
        raise ValueError(f"round {run.round!r}, state {run.state!r}")
    return run
