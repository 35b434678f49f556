"""The plots of a measurement, as SVG: readable in greyscale by hatches, markers and dashes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from liballoc.allocators.registry import BASELINE
from liballoc.measure.statistics import Ratio
from liballoc.measure.summary import PEAK, STEADY, TIME, Row, Summary
from liballoc.report.measured import TITLES
from liballoc.units import MIB, format_duration

# Okabe and Ito's colours and two more, in an order in which neighbours differ in lightness too.
COLOURS = (
    "#000000", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#E69F00", "#F0E442",
    "#7F7F7F", "#882255",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "h")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--", "**", "||")
DASHES: tuple[Any, ...] = (
    "-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)), (0, (2, 4)),
    (0, (6, 2, 2, 2)),
)  # fmt: skip

PANELS_MAX = 6
# A ratio beyond this is cut off and its value written, or the others would be a line.
RATIO_SHOWN_MAX = 3.0


@dataclass(frozen=True)
class Plot:
    """A drawn plot."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Style:
    """How an allocator looks in all plots."""

    colour: str
    marker: str
    hatch: str
    dashes: Any


def style(index: int) -> Style:
    """Of the n-th allocator."""
    pick = index % len(COLOURS)
    return Style(COLOURS[pick], MARKERS[pick], HATCHES[pick], DASHES[pick])


def new_figure(width: float, height: float) -> Figure:
    """A figure whose parts make room for each other."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure


def as_svg(figure: Figure) -> str:
    """The same bytes for the same data."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "liballoc", "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def draw(summary: Summary) -> list[Plot]:
    """Every plot that there are figures for."""
    plots = [against(summary), bars(summary, TIME), bars(summary, PEAK)]
    plots += [latency_curves(summary), fragmentation(summary), memory_over_time(summary)]
    return [plot for plot in plots if plot is not None]


def against(summary: Summary) -> Plot | None:
    """Time against memory, a point an allocator."""
    points: list[tuple[int, str, Ratio, Ratio]] = []
    # Where programs are so small that their peak is not known in every run, what they hold is.
    others = [name for name in summary.allocators if summary.mean(name, TIME)]
    has_peak = all(summary.mean(name, PEAK) for name in others)
    kind = PEAK if has_peak else STEADY
    for index, name in enumerate(summary.allocators):
        if name == BASELINE:
            points.append((index, name, Ratio(1.0), Ratio(1.0)))
            continue
        time = summary.mean(name, TIME)
        memory = summary.mean(name, kind)
        if time and memory:
            points.append((index, name, time.ratio, memory.ratio))
    if len(points) < 2:
        return None
    figure = new_figure(7, 5)
    axes = figure.subplots()
    for index, name, x, y in points:
        look = style(index)
        axes.errorbar(
            x.value, y.value, xerr=whiskers(x), yerr=whiskers(y), fmt=look.marker, label=name,
            color=look.colour, markeredgecolor="black", markersize=10, capsize=3, ecolor="#555555",
        )  # fmt: skip
    axes.axvline(1, color="#999999", linewidth=0.8)
    axes.axhline(1, color="#999999", linewidth=0.8)
    axes.set_xlabel(f"time, ratio to {BASELINE} (left is faster)")
    axes.set_ylabel(f"{TITLES[kind]}, ratio to {BASELINE} (down is smaller)")
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    handles = [
        Line2D([], [], linestyle="", marker=style(index).marker, markersize=10, label=name,
               color=style(index).colour, markeredgecolor="black")
        for index, name, _, _ in points
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    caption = "Geometric means over the items; whiskers are 95 % confidence intervals."
    return Plot("time-memory", "Time against memory", caption, as_svg(figure))


def whiskers(ratio: Ratio) -> list[list[float]] | None:
    """The distances to both ends of the interval."""
    if ratio.low is None or ratio.high is None:
        return None
    return [[max(0.0, ratio.value - ratio.low)], [max(0.0, ratio.high - ratio.value)]]


def bars(summary: Summary, metric: str) -> Plot | None:
    """A group of bars an item: each allocator's ratio to the baseline."""
    names = [name for name in summary.allocators if name != BASELINE]
    items = [item.name for item in summary.items]
    found = {(i, n): ratio_in(summary.row(i, n), metric) for i in items for n in names}
    # An item that nobody has a ratio in would be an empty line; the tables have it.
    items = [each for each in items if any(found[each, name] for name in names)]
    if not items:
        return None
    height = 0.8 / len(names)
    figure = new_figure(8, 1.4 + len(items) * (0.17 * len(names) + 0.16))
    axes = figure.subplots()
    for place, name in enumerate(names):
        look = style(summary.allocators.index(name))
        for number, item in enumerate(items):
            y = number + (place - (len(names) - 1) / 2) * height
            row = summary.row(item, name)
            if row is not None and row.reason:
                axes.text(0.02, y, "failed", va="center", fontsize=6)
            ratio = found[item, name]
            if ratio is None:
                continue
            shown = min(ratio.value, RATIO_SHOWN_MAX)
            axes.barh(y, shown, height * 0.92, color=look.colour, hatch=look.hatch,
                      edgecolor="black", linewidth=0.5)  # fmt: skip
            if ratio.value > RATIO_SHOWN_MAX:
                axes.text(shown, y, f" {ratio.value:.1f}", va="center", fontsize=7)
            elif ratio.low is not None:
                axes.errorbar(ratio.value, y, xerr=whiskers(ratio), fmt="none", ecolor="#444444",
                              capsize=1.5, linewidth=0.9)  # fmt: skip
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(items)), items)
    axes.set_ylim(len(items) - 0.5, -0.5)
    axes.set_xlim(0, min(axes.get_xlim()[1], RATIO_SHOWN_MAX * 1.08))
    axes.set_xlabel(f"{TITLES[metric]}, ratio to {BASELINE} (the line; shorter is better)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(handles=patches(summary, names), loc="outside upper center", frameon=False,
                  ncols=len(names))  # fmt: skip
    caption = f"Whiskers are 95 % confidence intervals; bars end at {RATIO_SHOWN_MAX:g}."
    title = f"{TITLES[metric].capitalize()} by item"
    return Plot(f"bars-{metric.partition('_')[0]}", title, caption, as_svg(figure))


def patches(summary: Summary, names: Sequence[str]) -> list[Patch]:
    """The legend of bars."""
    looks = [style(summary.allocators.index(name)) for name in names]
    return [
        Patch(facecolor=look.colour, hatch=look.hatch * 2, edgecolor="black", label=name)
        for look, name in zip(looks, names, strict=True)
    ]


def ratio_in(row: Row | None, metric: str) -> Ratio | None:
    """The ratio of a row."""
    cell = row.cells.get(metric) if row else None
    return cell.ratio if cell else None


def panels(count: int) -> tuple[Figure, list[Any]]:
    """A figure with so many panels, two in a row."""
    columns = min(2, count)
    lines = math.ceil(count / columns)
    figure = new_figure(8 if columns == 1 else 10.4, 0.6 + 3.0 * lines)
    grid = list(figure.subplots(lines, columns, squeeze=False).flat)
    for empty in grid[count:]:
        empty.set_axis_off()
    return figure, grid[:count]


def shared_legend(figure: Figure, axes: Sequence[Any]) -> None:
    """One legend for all panels."""
    handles: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside upper center",
                  ncols=len(handles), frameon=False)  # fmt: skip


def latency_curves(summary: Summary) -> Plot | None:
    """Percentiles of malloc, a panel a profile."""
    items = [
        item.name
        for item in summary.items
        if any(row.latencies for row in summary.rows if row.item == item.name)
    ][:PANELS_MAX]
    if not items:
        return None
    figure, grid = panels(len(items))
    for axes, item in zip(grid, items, strict=True):
        shown: dict[float, str] = {}
        for index, name in enumerate(summary.allocators):
            row = summary.row(item, name)
            points = percentile_points(row)
            if not points:
                continue
            look = style(index)
            shown |= {tail: f"p{label}" for tail, label, _ in points}
            axes.plot([tail for tail, _, _ in points], [value for _, _, value in points],
                      color=look.colour, marker=look.marker, linestyle=look.dashes, label=name,
                      markeredgecolor="black", markeredgewidth=0.4, markersize=5)  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(FixedLocator(sorted(shown)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _, s=shown: nearest(s, x)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_duration(y / 1e9)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_title(item, fontsize=10)
        axes.set_xlabel("percentile of calls")
        axes.set_ylabel("time of a malloc")
        axes.grid(alpha=0.3)
    shared_legend(figure, grid)
    caption = "Medians over the runs; the clock's own cost is subtracted. Both axes logarithmic."
    return Plot("latency", "Latency of malloc", caption, as_svg(figure))


def percentile_points(row: Row | None) -> list[tuple[float, str, float]]:
    """Where a percentile stands on a logarithmic axis, its label, and its value above 0."""
    if row is None:
        return []
    return [
        (1 / (1 - float(label) / 100), label, max(value, 1.0))
        for label, value in row.latencies.items()
    ]


def nearest(labels: dict[float, str], x: float) -> str:
    """The label of a tick."""
    return labels[min(labels, key=lambda known: abs(known - x))]


def fragmentation(summary: Summary) -> Plot | None:
    """What is resident beside what is requested from phase to phase, two panels an item."""
    items = [
        item.name
        for item in summary.items
        if any(row.phases for row in summary.rows if row.item == item.name)
    ]
    if not items:
        return None
    figure, grid = panels(2 * len(items))
    for number, item in enumerate(items):
        for axes, is_ratio in zip(grid[2 * number : 2 * number + 2], (False, True), strict=True):
            phase_panel(axes, summary, item, is_ratio=is_ratio)
            axes.set_title(item, fontsize=10)
    shared_legend(figure, grid)
    caption = (
        "Medians over the runs of what the heap's process grew by, at the end of each phase; grey "
        "is what the program asked for and has not freed. Without any there is no ratio."
    )
    return Plot("fragmentation", "Fragmentation over time", caption, as_svg(figure))


def phase_panel(axes: Any, summary: Summary, item: str, *, is_ratio: bool) -> None:
    """Steps over the phases: MiB above those requested, or the ratio of both."""
    rows = [(index, summary.row(item, name)) for index, name in enumerate(summary.allocators)]
    drawn = [(index, row) for index, row in rows if row is not None and row.phases]
    shown = drawn[0][1].phases
    edges = [place - 0.5 for place in range(len(shown) + 1)]
    for index, row in drawn:
        look = style(index)
        values = [
            held / MIB if not is_ratio else held / asked if asked else math.nan
            for _, asked, held in row.phases
        ]
        axes.stairs(values, edges[: len(values) + 1], baseline=None, color=look.colour,
                    linestyle=look.dashes, linewidth=1.3)  # fmt: skip
        # Beside each other, or the last one hides those that hold as much.
        shift = (index + 1) / (len(rows) + 1) - 0.5
        axes.plot([place + shift for place in range(len(values))], values, color=look.colour,
                  marker=look.marker, linestyle="", label=row.allocator, markersize=6,
                  markeredgecolor="black", markeredgewidth=0.4)  # fmt: skip
    if is_ratio:
        axes.axhline(1, color="#999999", linewidth=0.8)
        for place, (_, asked, _) in enumerate(shown):
            if not asked:
                axes.text(place, 0.5, "nothing\nlives", ha="center", va="center", fontsize=7,
                          transform=axes.get_xaxis_transform())  # fmt: skip
    else:
        axes.stairs([asked / MIB for _, asked, _ in shown], edges, fill=True, color="#DDDDDD",
                    label="requested", zorder=0)  # fmt: skip
    axes.set_xticks(range(len(shown)), [name for name, _, _ in shown])
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("phase, in the order of the run")
    axes.set_ylabel("resident / requested" if is_ratio else "resident memory, MiB")
    axes.grid(axis="y", alpha=0.3)


def memory_over_time(summary: Summary) -> Plot | None:
    """Resident memory of all processes of the typical run, a panel an item."""
    longest: dict[str, float] = {}
    for row in summary.rows:
        if len(row.series) > 3:
            longest[row.item] = max(longest.get(row.item, 0.0), row.series[-1][0])
    items = sorted(longest, key=lambda item: -longest[item])[:PANELS_MAX]
    if not items:
        return None
    figure, grid = panels(len(items))
    for axes, item in zip(grid, items, strict=True):
        for index, name in enumerate(summary.allocators):
            found = summary.row(item, name)
            if found is None or not found.series:
                continue
            look = style(index)
            every = max(1, len(found.series) // 8)
            axes.plot([at for at, _ in found.series], [size / MIB for _, size in found.series],
                      color=look.colour, linestyle=look.dashes, marker=look.marker, label=name,
                      markevery=(index, every), markersize=4, linewidth=1.3,
                      markeredgecolor="black", markeredgewidth=0.4)  # fmt: skip
        axes.set_title(item, fontsize=10)
        axes.set_xlabel("seconds since the start")
        axes.set_ylabel("resident memory, MiB")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    shared_legend(figure, grid)
    caption = (
        "Of the run of median time; all processes of the program together, shared pages in shares."
    )
    return Plot("memory", "Resident memory over time", caption, as_svg(figure))
