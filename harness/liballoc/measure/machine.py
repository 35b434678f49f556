"""What of the machine a figure depends on; stands in every results file."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The model name; the architecture where there is none."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def first_line(path: Path) -> str:
    """Of a file of /sys or /proc; "" where there is none."""
    try:
        return path.read_text().partition("\n")[0].strip()
    except OSError:
        return ""


def memory_bytes() -> int:
    """The memory of the machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def describe(root: Path = Path("/")) -> dict[str, Any]:
    """What must be equal before runs are compared."""
    return {
        "architecture": platform.machine(),
        "cpu": cpu_name(root / "proc/cpuinfo"),
        "cpus": len(os.sched_getaffinity(0)),
        "memory": memory_bytes(),
        "kernel": platform.release(),
        "system": system_name(root / "etc/os-release"),
        "huge_pages": first_line(root / "sys/kernel/mm/transparent_hugepage/enabled"),
        "governor": first_line(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "page_size": os.sysconf("SC_PAGE_SIZE"),
    }


def system_name(release: Path) -> str:
    """Debian GNU/Linux 12 (bookworm)."""
    try:
        lines = release.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip().strip('"')
    return ""
