"""The tables of a measurement, as text: the terminal, Markdown and the page show the same cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO

from liballoc.allocators.registry import BASELINE, OWN
from liballoc.measure.record import ALLOCBENCH, FAILED, FORMAT, METRICS, Item
from liballoc.measure.standing import Standing
from liballoc.measure.statistics import PAIRS_MIN, Ratio
from liballoc.measure.summary import (
    MEAN_METRICS,
    NOT_RUN,
    PEAK,
    STEADY,
    TIME,
    WALL,
    Cell,
    Mean,
    Row,
    Summary,
)
from liballoc.report.table import print_table
from liballoc.units import format_bytes, format_duration

SAME = "no significant difference"
TITLES = {TIME: "time", WALL: "wall time", PEAK: "peak memory", STEADY: "steady memory"}
# A word for less and one for more.
WORDS = {TIME: ("faster", "slower"), WALL: ("faster", "slower"), "cpu_s": ("faster", "slower")}

OF_ALLOCBENCH = (
    "allocbench's items: peak memory is what the heap grew by; wall time and steady memory, which "
    "are mostly its harness's, are not measured"
)

DETAILS = (
    "cpu_s", "wall_s", "alloc_ns", "op_ns", "p50_ns", "p99_ns", "p99.9_ns", "p99.99_ns",
    "fragmentation_pct", "peak_bytes", "steady_bytes", "minor_faults", "major_faults",
    "instructions",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table of text; the first column is left-aligned, the others right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def format_value(value: float, unit: str) -> str:
    """A figure with its unit."""
    if unit == "seconds":
        return format_duration(value)
    if unit == "ns":
        return format_duration(value / 1e9)
    if unit == "bytes":
        return format_bytes(round(value))
    return f"{value:.1f} %" if unit == "percent" else f"{round(value):,}"


def format_ratio(ratio: Ratio) -> str:
    """`0.87 [0.85, 0.89]`, with ~ before it where it is no significant difference."""
    interval = "" if ratio.low is None else f" [{ratio.low:.2f}, {ratio.high:.2f}]"
    return f"{'' if ratio.significant else '~'}{ratio.value:.2f}{interval}"


def verdict(ratio: Ratio | None, metric: str) -> str:
    """What a ratio says in words."""
    if ratio is None:
        return ""
    if ratio.p is None:
        return "too few rounds to tell"
    if not ratio.significant:
        return SAME
    less, more = WORDS.get(metric, ("less", "more"))
    percent = abs(ratio.value - 1) * 100
    return f"{percent:.{0 if percent >= 10 else 1}f} % {less if ratio.value < 1 else more}"


def cell_text(cell: Cell | None, unit: str) -> str:
    """`1.20 s ±2 %`; a value of the probe alone has no spread."""
    if cell is None:
        return "-"
    text = format_value(cell.spread.median, unit)
    if cell.from_probe or cell.spread.count < 2:
        return f"{text} (one look)"
    return f"{text} ±{cell.spread.percent:.0f} %"


def mean_table(summary: Summary) -> Table:
    """The geometric means over all items."""
    columns = ["allocator", *(TITLES[metric] for metric in MEAN_METRICS), "items of each"]
    rows = []
    for name in summary.allocators:
        if name == BASELINE:
            rows.append([name, *("1" for _ in MEAN_METRICS), str(len(summary.items))])
            continue
        means = [summary.mean(name, metric) for metric in MEAN_METRICS]
        rows.append([name, *mean_cells(summary, means)])
    title = f"Geometric mean of the ratios to {BASELINE} (below 1 is better; ~: {SAME})"
    return Table(title, columns, rows)


def mean_cells(summary: Summary, means: Sequence[Mean | None]) -> list[str]:
    """A row's ratios, and over how many items each is."""
    cells = ["-" if mean is None else format_ratio(mean.ratio) for mean in means]
    counts = "/".join(str(mean.items if mean else 0) for mean in means)
    return [*cells, f"{counts} of {len(summary.items)}"]


def beside_table(summary: Summary) -> Table:
    """liballoc's geometric means to each of the others."""
    found = {(mean.allocator, mean.metric): mean for mean in summary.beside}
    rows = []
    for name in dict.fromkeys(mean.allocator for mean in summary.beside):
        means = [found.get((name, metric)) for metric in MEAN_METRICS]
        rows.append([name, *mean_cells(summary, means)])
    title = f"{OWN} to each of the others, over the items that both ran (~: {SAME})"
    return Table(title, ["other", *(TITLES[metric] for metric in MEAN_METRICS), "items"], rows)


def overview(summary: Summary, metric: str) -> Table:
    """A row an item, a column an allocator: the baseline's value, the ratios of the others."""
    rows = []
    for item in summary.items:
        unit = METRICS[item.time if metric == TIME else metric].unit
        found = [summary.row(item.name, name) for name in summary.allocators]
        if not any(row and (row.state == FAILED or metric in row.cells) for row in found):
            continue
        cells = []
        for row in found:
            cells.append("-" if row is None else overview_cell(row, metric, unit))
        rows.append([item.name, *cells])
    title = f"{TITLES[metric].capitalize()}: {BASELINE}'s median, then ratios to it (~: {SAME})"
    return Table(title, ["item", *summary.allocators], rows)


def standing_table(summary: Summary) -> Table:
    """A row an item: who is best of the others, and how the library stands to it."""
    found = {(each.item, each.metric): each for each in summary.standings}
    rows = []
    for item in summary.items:
        cells = []
        for metric in (TIME, PEAK):
            each = found.get((item.name, metric))
            cells += ["-", "-"] if each is None else [each.rival, standing_text(each)]
        if any(cell != "-" for cell in cells):
            rows.append([item.name, *cells])
    behind = sum(each.is_behind for each in summary.standings)
    title = f"{OWN} beside the best of the others (~: {SAME}; behind: {behind})"
    columns = ["item", "fastest of the others", "time", f"leanest but {BASELINE}", "peak memory"]
    return Table(title, columns, rows)


def standing_text(standing: Standing) -> str:
    """`1.20 [1.10, 1.30] behind`; ~ as everywhere."""
    return format_ratio(standing.ratio) + (" behind" if standing.is_behind else "")


def overview_cell(row: Row, metric: str, unit: str) -> str:
    """The cell of an item and an allocator."""
    if row.state == FAILED:
        return FAILED
    cell = row.cells.get(metric)
    if cell is None or cell.ratio is None:
        return cell_text(cell, unit)
    return format_ratio(cell.ratio)


def detail_table(summary: Summary, item: Item) -> Table:
    """All figures of one item: a row a figure, a column an allocator."""
    rows = []
    for name in DETAILS:
        metric = METRICS[name]
        cells = []
        for allocator in summary.allocators:
            row = summary.row(item.name, allocator)
            cell = row.cells.get(name) if row else None
            ratio = f"; {format_ratio(cell.ratio)}" if cell and cell.ratio else ""
            cells.append(cell_text(cell, metric.unit) + ratio)
        if any(cell != "-" for cell in cells):
            rows.append([metric.title, *cells])
        elif name == "instructions":
            rows.append([metric.title, *("not available" for _ in cells)])
    rows.append(["time says", *(says(summary, item, name, TIME) for name in summary.allocators)])
    rows.append(["peak says", *(says(summary, item, name, PEAK) for name in summary.allocators)])
    rows.append(["runs", *(runs(summary, item, name) for name in summary.allocators)])
    return Table(f"{item.name}: {item.why}", ["figure", *summary.allocators], rows)


def says(summary: Summary, item: Item, allocator: str, metric: str) -> str:
    """What a metric says about an allocator."""
    row = summary.row(item.name, allocator)
    if row is None or row.state == FAILED:
        return FAILED
    cell = row.cells.get(metric)
    return verdict(cell.ratio if cell else None, metric) or "-"


def runs(summary: Summary, item: Item, allocator: str) -> str:
    """How many runs there were."""
    row = summary.row(item.name, allocator)
    return "0" if row is None else str(row.runs)


def remarks(summary: Summary) -> list[str]:
    """What went wrong and what must be known, a line each."""
    lines = failures(summary)
    lines += [
        f"{row.item} on {row.allocator}: {row.note}; left out of the means"
        for row in summary.rows
        if row.note
    ]
    lines += [f"{item} was not run: {reason}" for item, reason in summary.skipped.items()]
    if any(item.group == ALLOCBENCH for item in summary.items):
        lines.append(OF_ALLOCBENCH)
    if summary.rounds < PAIRS_MIN:
        few = "1 round is" if summary.rounds == 1 else f"{summary.rounds} rounds are"
        lines.append(f"{few} too few for intervals; {PAIRS_MIN} are needed")
    return lines


def failures(summary: Summary) -> list[str]:
    """What failed and why; a line an item where several allocators failed alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in summary.rows:
        if row.state == FAILED:
            alike.setdefault((row.item, row.reason), []).append(row.allocator)
    idle = [
        item
        for (item, reason), names in alike.items()
        if reason == NOT_RUN and len(names) == len(summary.allocators)
    ]
    lines = [
        f"{item} on {', '.join(names)}: {reason}"
        for (item, reason), names in alike.items()
        if item not in idle
    ]
    if idle:
        lines.append(f"interrupted before they were run: {', '.join(idle)}")
    return lines


def versions(summary: Summary) -> Table:
    """What was measured."""
    rows = [
        [str(each["name"]), str(each["version"]), str(each["path"] or "-"), str(each["digest"])]
        for each in summary.header.allocators
    ]
    return Table("Allocators", ["name", "version", "file", "SHA-256"], rows)


def machine_lines(machine: Mapping[str, object]) -> list[str]:
    """The machine, in words."""
    memory = format_bytes(int(str(machine["memory"])))
    return [
        f"{machine['cpus']} CPUs: {machine['cpu']}, {memory} of memory",
        f"{machine['system']}, Linux {machine['kernel']} ({machine['architecture']})",
        f"huge pages: {machine['huge_pages'] or 'unknown'}; clock: "
        f"{machine['governor'] or 'not ours to see'}; pages of {machine['page_size']} bytes",
    ]


def tables(summary: Summary) -> list[Table]:
    """The tables of the terminal: means and overviews, or the details of the only item."""
    if len(summary.items) == 1:
        return [detail_table(summary, summary.items[0])]
    return [overview(summary, TIME), overview(summary, PEAK), mean_table(summary)]


def show(summary: Summary, file: IO[str] | None = None) -> None:
    """Print tables and remarks."""
    for table in tables(summary):
        print_table(table.title, table.columns, table.rows, right=table.columns[1:], file=file)
    for line in remarks(summary):
        print(line, file=file)


def as_json(summary: Summary) -> dict[str, object]:
    """The document for programs."""
    rows = []
    for row in summary.rows:
        entry = asdict(row)
        del entry["series"]
        rows.append(entry)
    return {
        "format": FORMAT,
        "header": asdict(summary.header),
        "rounds": summary.rounds,
        "rows": rows,
        "means": [asdict(mean) for mean in summary.means],
        "beside": [asdict(mean) for mean in summary.beside],
        "standings": [asdict(standing) for standing in summary.standings],
        "skipped": dict(summary.skipped),
        "remarks": remarks(summary),
    }
