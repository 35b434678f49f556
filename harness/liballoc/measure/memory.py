"""Resident memory over time: a thread that looks at all processes of a run through /proc.

What it keeps is bounded: when it has seen enough, every second look is dropped and looks are taken
half as often, so that a run of an hour costs as little as one of a second.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from liballoc.measure.process import PAGE_SIZE
from liballoc.units import KIB
from liballoc.workload.launch import SUPERVISOR

INTERVAL_S = 0.004
LOOKS_MAX = 240
# The kernel walks all pages for a process's share, and holds up its calls meanwhile: so long as
# one look took, so many times that long none is taken.
REST_FACTOR = 19
# A steady state takes some looks to tell.
STEADY_LOOKS_MIN = 8

Series = list[tuple[float, int]]


def tree(pid: int, proc: Path = Path("/proc")) -> Iterator[int]:
    """All processes below one."""
    waiting = [pid]
    while waiting:
        with contextlib.suppress(OSError):
            for task in (proc / str(waiting.pop()) / "task").iterdir():
                children = [int(word) for word in (task / "children").read_text().split()]
                yield from children
                waiting += children


def resident(pid: int, proc: Path = Path("/proc")) -> int:
    """The resident bytes of a process; 0 where it is gone, or has not become the program yet."""
    folder = proc / str(pid)
    try:
        size = int((folder / "statm").read_text().split()[1]) * PAGE_SIZE
        is_copy = SUPERVISOR.name.encode() in (folder / "cmdline").read_bytes()
    except (OSError, IndexError):
        return 0
    return 0 if is_copy else size


def share(pid: int, proc: Path = Path("/proc")) -> int:
    """Its resident bytes, a page that n processes have counted as an n-th; else as `resident`."""
    size = resident(pid, proc)
    with contextlib.suppress(OSError):
        for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines():
            if size and line.startswith("Pss:"):
                return int(line.split()[1]) * KIB
    return size


def held(pids: Sequence[int], proc: Path = Path("/proc")) -> int:
    """The bytes of all together: of several by shares, or what a fork has not copied is doubled."""
    look = resident if len(pids) == 1 else share
    return sum(look(pid, proc) for pid in pids)


def thin(series: Series) -> Series:
    """Every second look."""
    return series[::2]


def steady(series: Sequence[tuple[float, int]]) -> float | None:
    """The median of the second half of the time; None where that is too short to say."""
    if not series:
        return None
    middle = (series[0][0] + series[-1][0]) / 2
    late = [size for at, size in series if at >= middle]
    return statistics.median(late) if len(late) >= STEADY_LOOKS_MIN else None


class Sampler:
    """Looks at the processes below a supervisor until it is stopped."""

    def __init__(self, supervisor: int, interval: float = INTERVAL_S) -> None:
        self._supervisor = supervisor
        self._interval = interval
        self._series: Series = []
        self._end = threading.Event()
        self._start = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> Series:
        """Stop; what was seen."""
        self._end.set()
        self._thread.join()
        return self._series

    def _watch(self) -> None:
        took = 0.0
        while not self._end.wait(max(self._interval, REST_FACTOR * took)):
            # Not the time on the clock: on a busy machine that is mostly waiting.
            begun = time.thread_time()
            size = held(list(tree(self._supervisor)))
            took = time.thread_time() - begun
            now = time.monotonic()
            if size:
                # The supervisor's own start is not the program's.
                self._start = self._start or now
                self._series.append((round(now - self._start, 4), size))
            if len(self._series) >= LOOKS_MAX:
                self._series = thin(self._series)
                self._interval *= 2
