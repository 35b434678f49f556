"""The ladder drawn: what each rung of the ladder of allocators shows, from its JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from liballoc.errors import CheckFailedError
from liballoc.report.figures import Plot, as_svg, new_figure, panels, style
from liballoc.report.measured import Table
from liballoc.units import format_bytes

Rungs = Sequence[Mapping[str, Any]]


def draw(document: Mapping[str, Any]) -> list[Plot]:
    """Every plot; CheckFailedError where the JSON is not the ladder's."""
    try:
        rungs = list(document["rungs"])
        return [
            scores(rungs, str(document["formula"])),
            search(rungs),
            fragmentation(rungs),
            free_sizes(rungs, int(document["bucket_from_bytes"])),
        ]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CheckFailedError(f"the ladder's JSON lacks something: {error!r}") from error


def table(document: Mapping[str, Any]) -> Table:
    """A row a rung."""
    rows = []
    for rung in document["rungs"]:
        evidence = rung["evidence"]
        crumbs = evidence["crumbs"]
        rows.append([
            str(rung["name"]), str(rung["idea"]), f"{rung['score']:.0f}",
            percent(crumbs["unusable_pct"]), percent(evidence["internal"]["internal_pct"]),
            *(f"{entry['ns_per_pair']:.0f} ns" for entry in evidence["search"]),
        ])  # fmt: skip
    lives = [entry["live"] for entry in document["rungs"][0]["evidence"]["search"]]
    columns = [
        "rung", "idea", "score", "free, yet of no use for 4 KiB", "internal fragmentation",
        *(f"a pair among {live:,}" for live in lives),
    ]  # fmt: skip
    return Table("The ladder", columns, rows)


def percent(value: float | None) -> str:
    """A part of a hundred, where a rung can say."""
    return "-" if value is None else f"{value:.1f} %"


def scores(rungs: Rungs, formula: str) -> Plot:
    """The malloc-lab score of each rung."""
    figure = new_figure(8, 0.9 + 0.36 * len(rungs))
    axes = figure.subplots()
    values = [float(rung["score"]) for rung in rungs]
    axes.barh(range(len(rungs)), values, color="#56B4E9", edgecolor="black", hatch="//")
    for place, value in enumerate(values):
        axes.text(value + 1, place, f"{value:.0f}", va="center", fontsize=9)
    axes.set_yticks(range(len(rungs)), [str(rung["name"]) for rung in rungs])
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xlabel("malloc-lab score, of 100")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    return Plot("ladder-score", "Malloc-lab score", formula, as_svg(figure))


def search(rungs: Rungs) -> Plot:
    """What a malloc and free cost as the live set grows."""
    figure = new_figure(8, 4.6)
    axes = figure.subplots()
    for index, rung in enumerate(rungs):
        look = style(index)
        entries = rung["evidence"]["search"]
        axes.plot([entry["live"] for entry in entries],
                  [max(entry["ns_per_pair"], 0.1) for entry in entries],
                  color=look.colour, marker=look.marker, linestyle=look.dashes,
                  label=str(rung["name"]), markeredgecolor="black",
                  markeredgewidth=0.4)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("live blocks")
    axes.set_ylabel("ns a malloc and free")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    caption = "Lists that are searched cost more the longer they are; size classes do not."
    return Plot("ladder-search", "Cost by the number of live blocks", caption, as_svg(figure))


def fragmentation(rungs: Rungs) -> Plot:
    """External and internal fragmentation side by side."""
    figure = new_figure(8, 0.9 + 0.5 * len(rungs))
    axes = figure.subplots()
    looks = (("free, yet of no use for 4 KiB", "#D55E00", "xx"),
             ("internal", "#CCCCCC", ".."))  # fmt: skip
    for number, (label, colour, hatch) in enumerate(looks):
        values = []
        for rung in rungs:
            evidence = rung["evidence"]
            part = evidence["crumbs"]["unusable_pct"] if number == 0 else (
                evidence["internal"]["internal_pct"])  # fmt: skip
            values.append(float(part or 0.0))
            if part is None:
                # An empty place would be read as none at all.
                place = len(values) - 1 + (number - 0.5) * 0.38
                axes.text(1, place, "not known", va="center", fontsize=8)
        places = [place + (number - 0.5) * 0.38 for place in range(len(rungs))]
        axes.barh(places, values, 0.36, label=label, color=colour, hatch=hatch, edgecolor="black")
    axes.set_yticks(range(len(rungs)), [str(rung["name"]) for rung in rungs])
    axes.invert_yaxis()
    axes.set_xlabel("percent")
    axes.set_xlim(0, 102)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    caption = (
        "After small blocks were freed in a pattern: the part of the free memory that no block of "
        "4 KiB can be cut from, where a rung knows it; and what headers and rounding cost."
    )
    return Plot("ladder-fragmentation", "Fragmentation", caption, as_svg(figure))


def free_sizes(rungs: Rungs, first: int) -> Plot:
    """The distribution of the sizes of free blocks, a panel a rung that has any."""
    having = [rung for rung in rungs if rung["evidence"]["crumbs"]["free"] and any(
        rung["evidence"]["crumbs"]["free"]["buckets"])]  # fmt: skip
    figure, grid = panels(max(1, len(having)))
    for axes, rung in zip(grid, having, strict=False):
        counts = rung["evidence"]["crumbs"]["free"]["buckets"]
        axes.bar(range(len(counts)), counts, color="#56B4E9", hatch="//", edgecolor="black")
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        ticks = range(0, len(counts), 4)
        axes.set_xticks(list(ticks), [format_bytes(first << tick) for tick in ticks])
        axes.set_title(str(rung["name"]), fontsize=10)
        axes.set_xlabel("size of a free block, from")
        axes.set_ylabel("free blocks")
        axes.grid(axis="y", alpha=0.3)
    caption = "Coalescing turns crumbs into few large blocks: from the left to the right."
    return Plot("ladder-free", "Sizes of free blocks", caption, as_svg(figure))
