"""A look at a living process through /proc: resident memory, mappings, threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PAGE_SIZE = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Look:
    """What a process holds at one moment; sizes in bytes."""

    pid: int
    name: str
    rss: int
    mappings: int
    threads: int
    has_library: bool


def look_at(pid: int, library: Path, proc: Path = Path("/proc")) -> Look | None:
    """Look at a process; None when it is gone or has no memory any more."""
    folder = proc / str(pid)
    try:
        maps = (folder / "maps").read_text(errors="replace").splitlines()
        rss = int((folder / "statm").read_text().split()[1]) * PAGE_SIZE
        threads = len(list((folder / "task").iterdir()))
        name = (folder / "comm").read_text(errors="replace").strip()
    except OSError:
        return None
    if not maps:
        return None
    has_library = any(line.endswith(f" {library}") for line in maps)
    return Look(pid, name, rss, len(maps), threads, has_library)
