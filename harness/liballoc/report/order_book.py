"""The order book's latencies as a table and as histograms."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from liballoc.errors import UsageError
from liballoc.measure.order_book import RANKS, Latencies, Shown, timer_cost, timer_step
from liballoc.report.table import print_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "request": "a request, from its bytes to its answer",
    "order_alloc": "an order allocated",
    "order_free": "an order freed",
    "scratch_alloc": "scratch memory allocated",
    "scratch_reset": "scratch memory reset",
}
# Of a bin over the last: one for each doubling would hide the two peaks of a hit and a miss.
GROWTH = 1.1
SUFFIXES = (".svg", ".png")


def show(shown: Sequence[Shown], rounds: int) -> None:
    """Print the table."""
    facts = shown[0].facts
    print(
        f"{facts['orders']:,} requests of seed {facts['seed']}: {facts['trades']:,} trades, digest "
        f"{facts['digest']}, the same with each of these:"
    )
    for each in shown:
        print(f"  {each.contender.name}: {describe(each)}")
    rows = []
    for call, title in TITLES.items():
        for each in shown:
            latencies = each.calls[call]
            cells = [f"{latencies.rank(rank):,.1f}" for rank in RANKS]
            rows.append([title, each.contender.name, *cells])
            title = ""  # noqa: PLW2901 (said once for all of its rows)
    print_table("Latencies, ns", ("what", "memory", *RANKS), rows, right=RANKS)
    source = shown[0].timers[0]["source"]
    print(
        f"Medians of {rounds} rounds, max the largest. Timer: {source}; its own cost, "
        f"{timer_cost(shown):.1f} ns (median), is subtracted; it moves in steps of "
        f"{timer_step(shown):.1f} ns."
    )


def describe(shown: Shown) -> str:
    """Where its memory comes from."""
    if shown.contender.memory == "pool":
        return "orders from hft_pool_alloc, scratch memory from hft_arena_alloc"
    return f"malloc of {shown.malloc_from}"


def check_plot(path: Path) -> None:
    """UsageError where the histograms cannot be drawn to that file."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--plot {path}: is neither .svg nor .png")


def plot(shown: Sequence[Shown], suffix: str) -> bytes:
    """The histograms of requests and of orders allocated and freed, as a picture of that kind."""
    from liballoc.report.figures import as_svg, new_figure  # noqa: PLC0415 (the plots' packages)

    figure = new_figure(9, 9)
    calls = ("request", "order_alloc", "order_free")
    step_ns = timer_step(shown)
    for axes, call in zip(figure.subplots(len(calls), 1, sharex=True), calls, strict=True):
        draw(axes, [(each.contender.name, each.calls[call]) for each in shown], step_ns)
        axes.set_title(TITLES[call], fontsize=10)
    figure.axes[-1].set_xlabel(f"ns, the timer's {timer_cost(shown):.0f} ns among them")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right",
                  ncols=len(shown), frameon=False)  # fmt: skip
    if suffix == ".svg":
        return as_svg(figure).encode()
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110)
    return out.getvalue()


def draw(axes: Axes, named: Sequence[tuple[str, Latencies]], step_ns: float) -> None:
    """A stepped line each, on logarithmic axes: the tail is what it is about."""
    from liballoc.report.figures import style  # noqa: PLC0415 (the plots' packages)

    for index, (name, latencies) in enumerate(named):
        bins = grouped(latencies.nanoseconds, step_ns)
        look = style(index)
        axes.step([ns for ns, _ in bins], [max(count, 0.5) for _, count in bins], where="post",
                  color=look.colour, linestyle=look.dashes, label=name)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_ylabel("calls")
    axes.grid(alpha=0.3)


def grouped(nanoseconds: Mapping[float, int], step_ns: float) -> list[tuple[float, int]]:
    """Counts by bins of equal width on a logarithmic axis, but none narrower than a step of the
    timer, which would be a comb: where each begins, and how many. The last is empty.
    """
    bins: list[tuple[float, int]] = []
    values = sorted(nanoseconds.items())
    place = 0
    # Between two steps, so that rounding moves nothing into another bin.
    begin = max(values[0][0] - step_ns / 2, 0.1) if values else 0.0
    while place < len(values):
        end = max(begin * GROWTH, begin + step_ns)
        count = 0
        while place < len(values) and values[place][0] < end:
            count += values[place][1]
            place += 1
        bins.append((begin, count))
        begin = end
    return [*bins, (begin, 0)] if bins else bins
