"""Pictures of a soak run: resident memory and mappings over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from liballoc.units import MIB

# Colours that people with any colour vision tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def plot_soak(entries: Sequence[Mapping[str, Any]], target: Path, title: str) -> None:
    """Draw each soak program: every point of its cycle faintly, one point of each cycle boldly."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    phases = [entry for entry in entries if entry["kind"] == "phase"]
    for number, program in enumerate(dict.fromkeys(entry["program"] for entry in phases)):
        own = [entry for entry in phases if entry["program"] == program]
        colour = COLOURS[number % len(COLOURS)]
        last = [entry for entry in own if entry["phase"] not in ("start", "end")]
        name = last[-1]["phase"] if last else ""
        same = [entry for entry in own if entry["phase"] == name]
        for axes, key, unit in ((upper, "rss", MIB), (lower, "mappings", 1)):
            axes.plot(
                [entry["seconds"] / 60 for entry in own],
                [entry[key] / unit for entry in own],
                color=colour, alpha=0.3, linewidth=0.6,
            )  # fmt: skip
            axes.plot(
                [entry["seconds"] / 60 for entry in same],
                [entry[key] / unit for entry in same],
                color=colour, linewidth=1.6, label=f"{program}, after {name}" if name else program,
            )  # fmt: skip
    figure.suptitle(title)
    upper.set_ylabel("resident memory, MiB")
    lower.set_ylabel("mappings")
    lower.set_xlabel("minutes")
    for axes in (upper, lower):
        axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
        axes.grid(alpha=0.3)
        if phases:
            axes.legend(loc="lower right")
    figure.savefig(target, dpi=110)
