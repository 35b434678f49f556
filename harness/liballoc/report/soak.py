"""The report of a soak run: tables on the terminal, Markdown, and the document for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from liballoc.measure.growth import OK, PhaseSummary, ProcessSummary, Series, Summary
from liballoc.measure.trend import CONFIDENCE, WARM_UP
from liballoc.report.table import print_table
from liballoc.units import format_bytes

PHASE_COLUMNS = (
    "program", "after", "cycles", "start", "median", "max", "end", "slope a minute",
    "mappings", "slope a minute ", "result",
)  # fmt: skip
PROCESS_COLUMNS = (
    "process", "looks", "start", "median", "max", "end", "mappings", "max ", "threads",
)  # fmt: skip

PROCESSES_SHOWN = 12


def phase_row(phase: PhaseSummary) -> tuple[str, ...]:
    """A row of the table of phases."""
    rss, mappings = phase.series["rss"], phase.series["mappings"]
    grows = any(series.grows for series in phase.series.values())
    return (
        phase.program,
        phase.phase,
        str(phase.cycles),
        *(format_bytes(round(value)) for value in (rss.start, rss.median, rss.max, rss.end)),
        slope(rss, in_bytes=True),
        f"{mappings.start:.0f} / {mappings.median:.0f} / {mappings.max:.0f} / {mappings.end:.0f}",
        slope(mappings, in_bytes=False),
        "FAIL" if grows else "too short" if rss.trend is None else "ok",
    )


def slope(series: Series, *, in_bytes: bool) -> str:
    """The slope with half the width of its interval."""
    trend = series.trend
    if trend is None:
        return "-"
    width = (trend.high - trend.low) / 2
    if in_bytes:
        return f"{format_bytes(round(trend.slope))} ± {format_bytes(round(width))}"
    return f"{trend.slope:.2f} ± {width:.2f}"


def process_rows(processes: Sequence[ProcessSummary]) -> list[tuple[str, ...]]:
    """The rows of the table of processes."""
    return [
        (
            each.process,
            str(each.looks),
            *(format_bytes(round(value)) for value in each.rss),
            f"{each.mappings[1]:.0f}",
            str(each.mappings[2]),
            str(each.threads_max),
        )
        for each in processes
    ]


def closing_lines(summary: Summary) -> list[str]:
    """What the tables do not say, the verdict last."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(summary.workloads.items()))
    lines = [
        f"{summary.minutes:.1f} minutes, {summary.forks} forks by the soak programs, workloads: "
        f"{counts or 'none'}",
    ]
    if summary.too_short:
        lines.append(
            f"too few cycles to tell growth: {', '.join(summary.too_short)}; run it longer"
        )
    lines += [f"FAIL {reason}" for reason in summary.reasons]
    lines.append(f"verdict: {summary.verdict}")
    return lines


def show(summary: Summary, file: IO[str] | None = None) -> None:
    """Print the tables and the verdict."""
    rows = [phase_row(phase) for phase in summary.phases]
    title = "Resident memory and mappings by phase"
    print_table(title, PHASE_COLUMNS, rows, right=PHASE_COLUMNS[2:10], file=file)
    # The files have all processes; a terminal gets the soak programs and the largest others.
    programs = {phase.program for phase in summary.phases}
    largest = sorted(
        summary.processes, key=lambda each: (each.process not in programs, -each.rss[2])
    )[:PROCESSES_SHOWN]
    rows = process_rows(largest)
    title = f"Processes, seen from outside ({len(rows)} of {len(summary.processes)})"
    print_table(title, PROCESS_COLUMNS, rows, right=PROCESS_COLUMNS[1:], file=file)
    for line in closing_lines(summary):
        print(line, file=file)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that Markdown shows."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cell.strip() for cell in line)} |" for line in lines)


def as_markdown(summary: Summary, command: str, picture: str) -> str:
    """The whole report."""
    parts = [
        f"# Soak run: {summary.verdict}",
        f"Repeat with `{command}`.",
        "\n".join(f"- {line}" for line in closing_lines(summary)),
        f"![resident memory and mappings over time]({picture})",
        "## Phases",
        "Resident memory and mappings (start / median / max / end) after each phase of the cycle. "
        f"The slope is of a line by least squares, without the first {WARM_UP:.0%} of the run, "
        f"with its interval at {CONFIDENCE:.1%}. It fails where the interval's lower limit means "
        "growth over the run by more than the bound: the larger of 8 MiB and 5 % of the median for "
        "resident memory, 32 and 5 % for mappings, 256 KiB and 2 % for bytes in use.",
        markdown_table(PHASE_COLUMNS, [phase_row(phase) for phase in summary.phases]),
        "## Processes",
        "Seen from outside every few seconds; those of workloads only while they ran on the "
        "library.",
        markdown_table(PROCESS_COLUMNS, process_rows(summary.processes)),
    ]
    return "\n\n".join(parts) + "\n"


def write_markdown(summary: Summary, command: str, picture: Path, target: Path) -> None:
    """Write the report beside its picture."""
    target.write_text(as_markdown(summary, command, picture.name), encoding="utf-8")


def as_json(summary: Summary, head: Mapping[str, Any]) -> dict[str, object]:
    """The document: what was run, then the summary."""
    return {"format": 1, **head, **asdict(summary), "ok": summary.verdict == OK}
