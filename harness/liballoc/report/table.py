"""Tables on the terminal, drawn by rich; the same shape for every command."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Where the width is unknown (a log file, CI) rows are not broken at rich's 80 columns.
WIDTH_UNKNOWN = 160

STYLES = {"ok": "green", "FAIL": "bold red", "skipped": "yellow"}


def make_console(file: IO[str] | None = None) -> Console:
    """A console that is wide where no terminal says how wide it is."""
    probe = Console(file=file)
    if probe.is_terminal:
        return probe
    width = shutil.get_terminal_size((WIDTH_UNKNOWN, 24)).columns
    return Console(file=file, width=width)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    file: IO[str] | None = None,
) -> None:
    """Print rows under a title; columns named in `right` are aligned to the right."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    make_console(file).print(table)
