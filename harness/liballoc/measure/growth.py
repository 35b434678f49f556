"""What the journal of a soak run says: summaries a phase, growth, and what went wrong.

All is computed from the journal's entries alone, so that the report of a run that was cut short
can be made as well.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from liballoc.measure.trend import Trend, fit
from liballoc.units import KIB, MIB, format_bytes

Entry = Mapping[str, Any]

OK, FAILED = "ok", "failed"
# Entries of the programs' lines that are no point of the phase cycle.
OUTSIDE_CYCLE = ("start", "end")


@dataclass(frozen=True)
class Quantity:
    """A figure that must not grow; the bound is the larger of a number and a part of the median."""

    name: str
    title: str
    bound_min: float
    bound_part: float

    def bound(self, median: float) -> float:
        """Growth up to this is not called growth."""
        return max(self.bound_min, self.bound_part * median)

    def words(self, value: float) -> str:
        """A value with its unit."""
        return f"{value:.0f}" if self.name == "mappings" else format_bytes(round(value))


QUANTITIES = (
    Quantity("rss", "resident memory", 8 * MIB, 0.05),
    Quantity("mappings", "mappings", 32, 0.05),
    # Exact when the threads rest, as they do after a phase, but for what magazines hold.
    Quantity("bytes_in_use", "bytes in use", 256 * KIB, 0.02),
)


@dataclass(frozen=True)
class Series:
    """One quantity of one program after one phase, over all cycles."""

    start: float
    median: float
    max: float
    end: float
    bound: float
    trend: Trend | None

    @property
    def grows(self) -> bool:
        """Whether it grows by more than the bound, with confidence."""
        return self.trend is not None and self.trend.growth_low > self.bound


@dataclass(frozen=True)
class PhaseSummary:
    """One phase of one program; `series` by the quantity's name."""

    program: str
    phase: str
    cycles: int
    series: Mapping[str, Series]


@dataclass(frozen=True)
class ProcessSummary:
    """A process, or all of one name in the rounds of workloads, as seen from outside."""

    process: str
    looks: int
    rss: tuple[int, float, int, int]
    """Start, median, max, end."""
    mappings: tuple[int, float, int, int]
    threads_max: int


@dataclass(frozen=True)
class Summary:
    """The whole run, judged."""

    verdict: str
    reasons: list[str]
    minutes: float
    phases: list[PhaseSummary]
    processes: list[ProcessSummary]
    workloads: Mapping[str, int]
    forks: int
    too_short: list[str] = field(default_factory=list)


def value_of(entry: Entry, name: str) -> float | None:
    """A quantity of a phase's entry; None where the program's malloc does not tell."""
    found = entry.get(name, (entry.get("stats") or {}).get(name))
    return None if found is None else float(found)


def summarise(entries: Sequence[Entry]) -> Summary:
    """Judge a journal."""
    phases = summarise_phases([entry for entry in entries if entry["kind"] == "phase"])
    reasons = [str(entry["reason"]) for entry in entries if entry["kind"] == "failure"]
    workloads = [entry for entry in entries if entry["kind"] == "workload"]
    reasons += [
        f"workload {entry['name']}: {reason}"
        for entry in workloads
        if entry["state"] == "FAIL"
        for reason in entry["reasons"] or ["failed"]
    ]
    reasons += growth(phases)
    forks: dict[str, int] = {}
    for entry in entries:
        if entry["kind"] == "phase":
            forks[entry["program"]] = int(entry.get("forks", 0))
    if not any(entry["kind"] == "phase" for entry in entries):
        reasons.append("the soak program reported nothing")
    return Summary(
        verdict=FAILED if reasons else OK,
        reasons=reasons,
        minutes=max((float(entry.get("time", 0)) for entry in entries), default=0) / 60,
        phases=phases,
        processes=summarise_processes([entry for entry in entries if entry["kind"] == "sample"]),
        workloads=dict(Counter(str(entry["state"]) for entry in workloads)),
        forks=sum(forks.values()),
        too_short=sorted({each.program for each in phases if each.series["rss"].trend is None}),
    )


def summarise_phases(entries: Sequence[Entry]) -> list[PhaseSummary]:
    """One summary a program and phase, in the order of the cycle."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry["phase"] not in OUTSIDE_CYCLE:
            groups.setdefault((entry["program"], entry["phase"]), []).append(entry)
    found = []
    for (program, phase), group in sorted(groups.items(), key=lambda item: item[0][0]):
        minutes = [float(entry["seconds"]) / 60 for entry in group]
        series = {}
        for quantity in QUANTITIES:
            values = [value_of(entry, quantity.name) for entry in group]
            known = [value for value in values if value is not None]
            if known and len(known) == len(values):
                series[quantity.name] = make_series(quantity, minutes, known)
        found.append(PhaseSummary(program, phase, len(group), series))
    return found


def make_series(quantity: Quantity, minutes: Sequence[float], values: Sequence[float]) -> Series:
    """The figures of one quantity at one point of the cycle."""
    median = statistics.median(values)
    bound = quantity.bound(median)
    return Series(values[0], median, max(values), values[-1], bound, fit(minutes, values))


def growth(phases: Sequence[PhaseSummary]) -> list[str]:
    """One reason for each program and quantity that grows, naming where it is steepest."""
    worst: dict[tuple[str, str], tuple[PhaseSummary, Series, int]] = {}
    for phase in phases:
        for quantity in QUANTITIES:
            series = phase.series.get(quantity.name)
            if series is None or not series.grows:
                continue
            key = (phase.program, quantity.name)
            known = worst.get(key)
            count = 1 if known is None else known[2] + 1
            if known is None or steepness(series) > steepness(known[1]):
                worst[key] = (phase, series, count)
            else:
                worst[key] = (known[0], known[1], count)
    known_by_name = {quantity.name: quantity for quantity in QUANTITIES}
    return [
        reason(program, known_by_name[name], *found) for (program, name), found in worst.items()
    ]


def reason(
    program: str, quantity: Quantity, phase: PhaseSummary, series: Series, count: int
) -> str:
    """Why growth fails the run, in words."""
    assert series.trend is not None
    least, bound = quantity.words(series.trend.growth_low), quantity.words(series.bound)
    return (
        f"{program}: {quantity.title} after {count} of the phases, most after {phase.phase}: grew "
        f"by at least {least} in {series.trend.minutes:.1f} minutes, the bound is {bound}"
    )


def steepness(series: Series) -> float:
    """The lower limit of the slope, a minute."""
    return series.trend.low if series.trend else 0.0


def summarise_processes(entries: Sequence[Entry]) -> list[ProcessSummary]:
    """What was seen from outside, by the process's name."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry["process"], []).append(entry)
    return [
        ProcessSummary(
            process=name,
            looks=len(group),
            rss=quartet([entry["rss"] for entry in group]),
            mappings=quartet([entry["mappings"] for entry in group]),
            threads_max=max(entry["threads"] for entry in group),
        )
        for name, group in groups.items()
    ]


def quartet(values: Sequence[int]) -> tuple[int, float, int, int]:
    """Start, median, max, end."""
    return (values[0], statistics.median(values), max(values), values[-1])
