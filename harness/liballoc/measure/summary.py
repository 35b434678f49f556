"""What a measurement says: a cell for every item, allocator and metric, and the means over items.

All is computed from header and runs, so that a measurement that was cut short can be reported too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from liballoc.allocators.registry import BASELINE, OWN
from liballoc.measure.record import (
    FAILED,
    METRICS,
    OK,
    PROBE_ROUND,
    SKIPPED,
    Header,
    Item,
    Metric,
    Run,
)  # fmt: skip
from liballoc.measure.standing import Standing, standing
from liballoc.measure.statistics import Ratio, Spread, judge, ratio_of, spread

TIME, WALL, PEAK, STEADY = "time", "wall_s", "peak_bytes", "steady_bytes"
MEAN_METRICS = (TIME, WALL, PEAK, STEADY)


@dataclass(frozen=True)
class Cell:
    """One metric of one item under one allocator."""

    spread: Spread
    ratio: Ratio | None = None
    """To the baseline; None for the baseline itself, and where that has no figure."""
    from_probe: bool = False


@dataclass(frozen=True)
class Row:
    """One item under one allocator."""

    item: str
    allocator: str
    state: str
    reason: str = ""
    note: str = ""
    runs: int = 0
    cells: Mapping[str, Cell] = field(default_factory=dict)
    series: Sequence[tuple[float, int]] = ()
    """Memory over time in the run of median time."""
    latencies: Mapping[str, float] = field(default_factory=dict)
    """The median of each percentile."""
    phases: Sequence[tuple[str, float, float]] = ()
    """Name, bytes requested, the median of the bytes resident."""


@dataclass(frozen=True)
class Mean:
    """The geometric mean of an allocator's ratios to the baseline, over the items both ran."""

    allocator: str
    metric: str
    ratio: Ratio
    items: int
    of: int


@dataclass(frozen=True)
class Summary:
    """Everything that a report shows."""

    header: Header
    rows: Sequence[Row]
    means: Sequence[Mean]
    skipped: Mapping[str, str]
    """Items that this machine cannot run, and why."""
    rounds: int
    """Complete ones."""
    standings: Sequence[Standing] = ()
    """Of liballoc to the best of the others, where there are others than the baseline."""
    beside: Sequence[Mean] = ()
    """liballoc's ratios to each of these others, over the items both ran."""

    def row(self, item: str, allocator: str) -> Row | None:
        """The row of an item and allocator."""
        for row in self.rows:
            if (row.item, row.allocator) == (item, allocator):
                return row
        return None

    def mean(self, allocator: str, metric: str) -> Mean | None:
        """The mean of an allocator."""
        for mean in self.means:
            if (mean.allocator, mean.metric) == (allocator, metric):
                return mean
        return None

    @property
    def items(self) -> list[Item]:
        """The items that were run."""
        return [item for item in self.header.items if item.name not in self.skipped]

    @property
    def allocators(self) -> list[str]:
        """Their names, the baseline first."""
        return [str(each["name"]) for each in self.header.allocators]


Values = dict[int, float]
"""A metric's value by round."""


def summarise(header: Header, runs: Sequence[Run]) -> Summary:
    """Compute everything."""
    skipped = {run.item: run.reason for run in runs if run.state == SKIPPED}
    names = [str(each["name"]) for each in header.allocators]
    items = [item for item in header.items if item.name not in skipped]
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.item, run.allocator), []).append(run)
    rows = [
        make_row(item, name, groups.get((item.name, name), []),
                 groups.get((item.name, BASELINE), []))
        for item in items for name in names
    ]  # fmt: skip
    means = [mean for name in names for mean in make_means(items, groups, name, BASELINE)]
    others = [name for name in names if OWN in names and name not in (OWN, BASELINE)]
    beside = [
        Mean(name, mean.metric, mean.ratio, mean.items, mean.of)
        for name in others for mean in make_means(items, groups, OWN, name)
    ]  # fmt: skip
    counted = [run.round for run in runs if run.state == OK]
    return Summary(
        header, judged(rows), judged_means(means), skipped, max(counted, default=0),
        make_standings(rows, items, groups), judged_means(beside),
    )  # fmt: skip


def by_round(runs: Sequence[Run], metric: str) -> Values:
    """A metric's values in the rounds that count."""
    return {
        run.round: float(run.values[metric])
        for run in runs
        if run.state == OK and run.round != PROBE_ROUND and metric in run.values
    }


def failed(runs: Sequence[Run]) -> Run | None:
    """The run that failed: one is enough for the whole row."""
    return next((run for run in runs if run.state == FAILED), None)


NOT_RUN = "was not run"


def make_row(item: Item, allocator: str, runs: Sequence[Run], baseline: Sequence[Run]) -> Row:
    """Judge the runs of one item under one allocator."""
    broken = failed(runs)
    good = [run for run in runs if run.state == OK and run.round != PROBE_ROUND]
    if broken is not None:
        before = f" (after {len(good)} that went well)" if good else ""
        return Row(item.name, allocator, FAILED, broken.reason + before)
    note = next((run.note for run in runs if run.note), "")
    digests = {run.digest for run in (*runs, *baseline) if run.digest}
    if len(digests) > 1:
        return Row(item.name, allocator, FAILED, "did another sequence of operations")
    if not good:
        return Row(item.name, allocator, FAILED, NOT_RUN)
    usable = [] if failed(baseline) or allocator == BASELINE else baseline
    cells: dict[str, Cell] = {}
    for metric in METRICS.values():
        cell = make_cell(metric, runs, usable)
        if cell is not None:
            cells[metric.name] = cell
    if item.time in cells:
        cells[TIME] = cells[item.time]
    return Row(
        item.name, allocator, OK, "", note, len(good), cells,
        typical(good, item.time).series, median_latencies(good), median_phases(good),
    )  # fmt: skip


def make_cell(metric: Metric, runs: Sequence[Run], baseline: Sequence[Run]) -> Cell | None:
    """A metric's median and its ratio to the baseline; None where there are no figures."""
    values = by_round(runs, metric.name)
    if not values:
        probe = [run.values[metric.name] for run in runs if metric.name in run.values]
        return Cell(spread(probe), None, from_probe=True) if metric.exact and probe else None
    pairs = logarithms(values, by_round(baseline, metric.name))
    ratio = ratio_of(list(pairs.values())) if pairs else None
    return Cell(spread(list(values.values())), ratio)


def logarithms(values: Values, baseline: Values) -> Values:
    """Of the ratios within the rounds that both have."""
    return {
        number: math.log(value / baseline[number])
        for number, value in values.items()
        if baseline.get(number, 0) > 0 and value > 0
    }


def typical(runs: Sequence[Run], metric: str) -> Run:
    """The run of median time."""
    ordered = sorted(runs, key=lambda run: run.values.get(metric, 0.0))
    return ordered[(len(ordered) - 1) // 2]


def median_latencies(runs: Sequence[Run]) -> dict[str, float]:
    """Of each percentile over the runs."""
    names = dict.fromkeys(name for run in runs for name in run.latencies)
    return {
        name: spread([run.latencies[name] for run in runs if name in run.latencies]).median
        for name in names
    }


def median_phases(runs: Sequence[Run]) -> list[tuple[str, float, float]]:
    """Of what is resident, over the runs; all have the same phases."""
    held: dict[tuple[str, float], list[float]] = {}
    for run in runs:
        for name, requested, resident in run.phases:
            held.setdefault((name, requested), []).append(resident)
    return [(*phase, spread(found).median) for phase, found in held.items()]


def make_means(
    items: Sequence[Item], groups: Mapping[tuple[str, str], list[Run]], allocator: str, other: str
) -> list[Mean]:
    """The means of an allocator's ratios to another's figures over the items that both ran."""
    found: list[Mean] = []
    if allocator == other:
        return found
    for metric in MEAN_METRICS:
        columns: list[Values] = []
        for item in items:
            name = item.time if metric == TIME else metric
            pair = [groups.get((item.name, each), []) for each in (allocator, other)]
            baseline = groups.get((item.name, BASELINE), [])
            noted = any(run.note for run in (*pair[1], *baseline))
            if any(failed(runs) for runs in pair) or noted:
                continue
            column = logarithms(by_round(pair[0], name), by_round(pair[1], name))
            if column:
                columns.append(column)
        # A figure that an item has now and then (steady memory of a short run) would leave the
        # mean few rounds.
        most = max((len(column) for column in columns), default=0)
        columns = [column for column in columns if len(column) == most]
        rounds = set.intersection(*(set(column) for column in columns)) if columns else set()
        if rounds:
            means = [
                sum(column[number] for column in columns) / len(columns)
                for number in sorted(rounds)
            ]
            found.append(Mean(allocator, metric, ratio_of(means), len(columns), len(items)))
    return found


def make_standings(
    rows: Sequence[Row], items: Sequence[Item], groups: Mapping[tuple[str, str], list[Run]]
) -> list[Standing]:
    """In time to all others; in peak memory to those but the baseline, whose mean is another
    question. What failed, or is linked with another allocator, is nobody's rival."""
    good = {(row.item, row.allocator) for row in rows if row.state == OK and not row.note}
    names = list(dict.fromkeys(row.allocator for row in rows))
    others = [name for name in names if name not in (OWN, BASELINE)]
    found: list[Standing] = []
    for item in items:
        if not others or (item.name, OWN) not in good:
            continue
        for metric, figure, rivals in (
            (TIME, item.time, [BASELINE, *others]),
            (PEAK, PEAK, others),
        ):
            values = {
                name: by_round(groups[item.name, name], figure)
                for name in [OWN, *rivals]
                if (item.name, name) in good
            }
            made = standing(item.name, metric, values.pop(OWN), values, logarithms)
            if made is not None:
                found.append(made)
    return judged_standings(found)


def judged_standings(standings: Sequence[Standing]) -> list[Standing]:
    """Standings that are marked; the best of several was chosen by the same figures, and there are
    as many chances of a false one as items."""
    found = []
    for metric in (TIME, PEAK):
        own = [each for each in standings if each.metric == metric]
        marked = judge([each.ratio for each in own])
        found += [
            Standing(each.item, each.metric, each.rival, ratio or each.ratio)
            for each, ratio in zip(own, marked, strict=True)
        ]
    return found


def judged(rows: Sequence[Row]) -> list[Row]:
    """Rows whose ratios are marked; one correction for each metric's column of the table."""
    cells = [{**row.cells} for row in rows]
    for metric in [*METRICS, TIME]:
        places = [index for index, row in enumerate(cells) if metric in row]
        marked = judge([cells[index][metric].ratio for index in places])
        for index, ratio in zip(places, marked, strict=True):
            old = cells[index][metric]
            cells[index][metric] = Cell(old.spread, ratio, old.from_probe)
    return [
        Row(row.item, row.allocator, row.state, row.reason, row.note, row.runs, own, row.series,
            row.latencies, row.phases)
        for row, own in zip(rows, cells, strict=True)
    ]  # fmt: skip


def judged_means(means: Sequence[Mean]) -> list[Mean]:
    """Means that are marked."""
    marked = judge([mean.ratio for mean in means])
    return [
        Mean(mean.allocator, mean.metric, ratio or mean.ratio, mean.items, mean.of)
        for mean, ratio in zip(means, marked, strict=True)
    ]
