"""The written reports of a measurement: Markdown, and one page that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from liballoc import __version__
from liballoc.measure.summary import PEAK, STEADY, TIME, WALL, Summary
from liballoc.report import ladder, measured
from liballoc.report.figures import Plot
from liballoc.report.measured import Table
from liballoc.report.soak import markdown_table

SILENT = (
    "One machine: another processor, kernel or C library may turn an order round.",
    "A ratio is of the whole program; how much of it allocates decides how much an allocator can "
    "gain.",
    "Peak memory is that of the largest process; steady memory is the median, in the second half "
    "of a run, of the sum over all processes: a page that n of them have counts as an n-th in each "
    "(PSS), where the kernel lets it be read.",
    "Every run is a fresh process: what a service gains or loses over weeks is not seen here.",
    "CPU time is of the program and its children; the start of the process is in it.",
)


def tables_of(summary: Summary) -> list[Table]:
    """All tables but the details of each item."""
    return [
        measured.mean_table(summary),
        *([measured.beside_table(summary)] if summary.beside else []),
        *([measured.standing_table(summary)] if summary.standings else []),
        *(measured.overview(summary, metric) for metric in (TIME, WALL, PEAK, STEADY)),
    ]


def how(summary: Summary) -> str:
    """How it was measured, in a paragraph."""
    return (
        f"{summary.rounds} rounds, each run a fresh process; the order of items and allocators is "
        f"drawn anew each round (seed {summary.header.seed}). Figures are medians with half the "
        "distance of their quartiles; ratios are taken within rounds, with 95 % bootstrap "
        "intervals. A difference is called one where a t-test says so after Holm's correction for "
        "all comparisons of its table."
    )


def as_markdown(summary: Summary, title: str, plots: Sequence[Plot]) -> str:
    """The report as Markdown; plots are files beside it."""
    parts = [f"# {title}", f"    {summary.header.command}", how(summary)]
    remarks = measured.remarks(summary)
    if remarks:
        parts.append("\n".join(f"- {line}" for line in remarks))
    for plot in plots:
        parts.append(f"![{plot.title}]({plot.name}.svg)\n\n{plot.caption}")
    tables = [*tables_of(summary), *details(summary), measured.versions(summary)]
    for table in tables:
        parts += [f"## {table.title}", markdown_table(table.columns, table.rows)]
    parts += ["## Machine", "\n".join(f"- {line}" for line in machine(summary))]
    parts += ["## What the figures do not say", "\n".join(f"- {line}" for line in SILENT)]
    return "\n\n".join(parts) + "\n"


def details(summary: Summary) -> list[Table]:
    """A table an item."""
    return [measured.detail_table(summary, item) for item in summary.items]


def machine(summary: Summary) -> list[str]:
    """The machine in words."""
    return measured.machine_lines(summary.header.machine)


def render(template: str, plots: Sequence[Plot], **values: object) -> str:
    """A page with its plots embedded."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    images = [(plot, base64.b64encode(plot.svg.encode("utf-8")).decode("ascii")) for plot in plots]
    return environment.get_template(template).render(images=images, version=__version__, **values)


def as_page(summary: Summary, title: str, plots: Sequence[Plot]) -> str:
    """The report as one HTML page."""
    return render(
        "page.html.j2",
        plots,
        title=title,
        command=summary.header.command,
        how=how(summary),
        remarks=measured.remarks(summary),
        tables=tables_of(summary),
        details=details(summary),
        versions=measured.versions(summary),
        machine=machine(summary),
        silent=SILENT,
    )


def ladder_page(document: Mapping[str, Any], command: str, plots: Sequence[Plot]) -> str:
    """The ladder as one HTML page."""
    return render(
        "ladder.html.j2", plots, title="The ladder of allocators", command=command,
        table=ladder.table(document),
    )  # fmt: skip
